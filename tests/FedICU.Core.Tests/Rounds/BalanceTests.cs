using CsCheck;
using FedICU.Compute;
using FedICU.Tests.Safetensors;

namespace FedICU.Tests.Rounds;

/// <summary>LoRA's factors balanced at a round's end (docs/algorithms.md, LoRA adapters: balance).</summary>
internal sealed class BalanceTests
{
    private const string A = "layer.lora_A.weight", B = "layer.lora_B.weight", Other = "layer.bias";

    [Test]
    public void TheProductStaysAndBothFactorsShareItsSingularValues() =>
        Gen.Select(Gen.Int[1, 6], Gen.Int[1, 20], Gen.Int[1, 20], Gen.Int[0, 1 << 20]).Sample((rank, inputs, outputs, seed) =>
        {
            using MemoryModel plain = Run(rank, inputs, outputs, seed, DType.F64, balance: false), balanced = Run(rank, inputs, outputs, seed, DType.F64, balance: true);
            double[,] expected = Product(plain, rank, inputs, outputs), made = Product(balanced, rank, inputs, outputs);
            for (int i = 0; i < outputs; i++)
            {
                for (int j = 0; j < inputs; j++)
                    Assert.That(made[i, j], Is.EqualTo(expected[i, j]).Within(1e-7), $"rank {rank}, {outputs} x {inputs}, seed {seed}");
            }

            double[] a = balanced.ToArray<double>(A), b = balanced.ToArray<double>(B);
            double previous = double.PositiveInfinity;
            // beyond the product's rank factors are free
            for (int r = 0; r < Math.Min(rank, Math.Min(inputs, outputs)); r++)
            {
                double ofA = Dot(i => a[r * inputs + i], i => a[r * inputs + i], inputs), ofB = Dot(i => b[i * rank + r], i => b[i * rank + r], outputs);
                Assert.That(ofA, Is.EqualTo(ofB).Within(1e-6), "both factors have the singular value");
                Assert.That(ofA, Is.LessThanOrEqualTo(previous + 1e-9));
                previous = ofA;
                for (int q = 0; q < r; q++)
                {
                    Assert.That(Dot(i => a[r * inputs + i], i => a[q * inputs + i], inputs), Is.Zero.Within(1e-6));
                    Assert.That(Dot(i => b[i * rank + r], i => b[i * rank + q], outputs), Is.Zero.Within(1e-6));
                }
            }
        }, iter: 100);

    [Test]
    public void KnownAnswer()
    {
        // B A = [[3, 0], [0, 2]] whatever the sharing: singular values 3 and 2
        using var global = new MemoryModel { { A, [2, 2], new double[] { 0, 0.5, 6, 0 } }, { B, [2, 2], new double[] { 0, 0.5, 4, 0 } } };
        using MemoryModel balanced = Run(global, [global], balance: true);
        Assert.That(balanced.ToArray<double>(A).Select(Math.Abs), Is.EqualTo(new[] { Math.Sqrt(3), 0, 0, Math.Sqrt(2) }).Within(1e-12));
        Assert.That(balanced.ToArray<double>(B).Select(Math.Abs), Is.EqualTo(new[] { Math.Sqrt(3), 0, 0, Math.Sqrt(2) }).Within(1e-12));
    }

    [Test]
    public void OtherTensorsHaveTheirBitsAndZeroFactorsStay()
    {
        using MemoryModel plain = Run(4, 9, 5, 3, DType.F32, balance: false), balanced = Run(4, 9, 5, 3, DType.F32, balance: true);
        Assert.That(balanced.ToArray<float>(Other), Is.EqualTo(plain.ToArray<float>(Other)));
        Assert.That(balanced.ToArray<float>(A), Is.Not.EqualTo(plain.ToArray<float>(A)));

        using MemoryModel start = Model(4, 9, 5, 3, DType.F32, zeroB: true);
        using MemoryModel still = Run(start, [start, start], balance: true);
        Assert.That(Models.AllBytes(still), Is.EqualTo(Models.AllBytes(start)));
    }

    [Test]
    public void WhatHasNoProductKeepsItsPartOfA()
    {
        // B's second column is twice its first: a direction has no product
        using var model = new MemoryModel { { A, [2, 3], new double[] { 1, 2, 3, -1, 0, 1 } }, { B, [2, 2], new double[] { 1, 2, -1, -2 } } };
        using MemoryModel balanced = Run(model, [model], balance: true);
        double[] a = balanced.ToArray<double>(A), b = balanced.ToArray<double>(B);
        Assert.That(new[] { b[1], b[3] }, Is.All.EqualTo(0).Within(1e-12));
        // u = (2, -1) / sqrt(5): u^T A = (3, 4, 5) / sqrt(5)
        Assert.That(a[3..].Select(Math.Abs), Is.EqualTo(new[] { 3, 4, 5 }.Select(value => value / Math.Sqrt(5))).Within(1e-12));
        Assert.That(Product(balanced, 2, 3, 2), Is.EqualTo(Product(model, 2, 3, 2)).Within(1e-12));
    }

    [Test]
    public void ThreadsAndOrderChangeNoBitAndTypesTheirRoundingAlone([Values(DType.F64, DType.F32, DType.F16, DType.BF16)] DType dtype)
    {
        byte[]? expected = null;
        foreach (int threads in (int[])[1, 2, 5])
        {
            using MemoryModel balanced = Run(8, 40, 30, 11, dtype, balance: true, threads);
            Assert.That(Models.AllBytes(balanced), Is.EqualTo(expected ??= Models.AllBytes(balanced)));
        }

        using MemoryModel plain = Run(8, 40, 30, 11, dtype, balance: false), other = Run(8, 40, 30, 11, dtype, balance: true, backend: new ReferenceBackend());
        double unit = dtype switch { DType.BF16 => 1.0 / 256, DType.F16 => 1.0 / 2048, DType.F32 => 1e-6, _ => 1e-12 };
        Assert.That(Product(other, 8, 40, 30), Is.EqualTo(Product(plain, 8, 40, 30)).Within(20 * unit));
    }

    [Test]
    public void AFileIsWrittenWhole()
    {
        using var folder = new TempFolder();
        using MemoryModel model = Model(4, 9, 5, 3, DType.F32);
        var round = new AggregationRound(model, new RoundOptions { BalanceLora = true }) { ClientUpdate.FromTensors("a", model) };
        new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile(folder["m.safetensors"])).GetAwaiter().GetResult();
        using MemoryModel balanced = Run(model, [model], balance: true, aggregator: new FedIcuAggregator());
        using TensorSource file = TensorSource.Open(folder["m.safetensors"]);
        Assert.That(Models.AllBytes(file), Is.EqualTo(Models.AllBytes(balanced)));
    }

    [Test]
    public void EigenvectorsTurnTheMatrixIntoItsValues() => Gen.Select(Gen.Int[1, 12], Gen.Int[0, 1 << 20]).Sample((n, seed) =>
    {
        var random = new Random(seed);
        double[] g = new double[n * n];
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j <= i; j++)
                g[i * n + j] = g[j * n + i] = random.NextDouble() - 0.5;
        }

        (double[] values, double[] u) = SymmetricEigen.Decompose([.. g], n);
        Assert.That(values, Is.Ordered.Descending);
        for (int i = 0; i < n; i++)
        {
            for (int j = 0; j < n; j++)
            {
                Assert.That(Dot(k => u[k * n + i], k => u[k * n + j], n), Is.EqualTo(i == j ? 1 : 0).Within(1e-13));
                Assert.That(Dot(k => u[i * n + k] * values[k], k => u[j * n + k], n), Is.EqualTo(g[i * n + j]).Within(1e-12));
            }
        }
    }, iter: 200);

    private static MemoryModel Model(int rank, int inputs, int outputs, int seed, DType dtype, bool zeroB = false)
    {
        var random = new Random(seed);
        var wide = new MemoryModel { { A, [rank, inputs], Values(rank * inputs) }, { B, [outputs, rank], zeroB ? new double[outputs * rank] : Values(outputs * rank) }, { Other, [7], Values(7) } };
        if (dtype == DType.F64)
            return wide;
        using (wide)
            return Run(wide, [wide], balance: false, output: dtype);

        double[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextDouble() - 0.5)];
    }

    private static MemoryModel Run(int rank, int inputs, int outputs, int seed, DType dtype, bool balance, int threads = 0, IComputeBackend? backend = null)
    {
        MemoryModel[] models = [.. Enumerable.Range(0, 4).Select(k => Model(rank, inputs, outputs, seed + k, dtype))];
        try
        {
            return Run(models[0], models[1..], balance, threads: threads, backend: backend);
        }
        finally
        {
            Array.ForEach(models, model => model.Dispose());
        }
    }

    private static MemoryModel Run(
        MemoryModel global, MemoryModel[] clients, bool balance, DType? output = null, int threads = 0, IComputeBackend? backend = null, IAggregator? aggregator = null)
    {
        var round = new AggregationRound(global, new RoundOptions { BalanceLora = balance, OutputDType = output, Threads = threads, Backend = backend });
        foreach ((int k, MemoryModel client) in clients.Index())
            round.Add(ClientUpdate.FromTensors($"{k}", client));
        var sink = new MemorySink();
        (aggregator ?? new FedAvgAggregator()).AggregateAsync(round, sink).GetAwaiter().GetResult();
        return sink.Model;
    }

    private static double[,] Product(MemoryModel model, int rank, int inputs, int outputs)
    {
        double[] a = Wide(A), b = Wide(B);
        var product = new double[outputs, inputs];
        for (int i = 0; i < outputs; i++)
        {
            for (int j = 0; j < inputs; j++)
                product[i, j] = Dot(r => b[i * rank + r], r => a[r * inputs + j], rank);
        }

        return product;

        double[] Wide(string name)
        {
            using var wide = new MemorySink();
            new FedAvgAggregator().AggregateAsync(new AggregationRound(model, new RoundOptions { OutputDType = DType.F64 }) { ClientUpdate.FromTensors("a", model) }, wide).GetAwaiter().GetResult();
            return wide.Model.ToArray<double>(name);
        }
    }

    private static double Dot(Func<int, double> x, Func<int, double> y, int count) => Enumerable.Range(0, count).Sum(i => x(i) * y(i));
}
