using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU.Gpu.Tests;

/// <summary>Compares a backend with the CPU's on long tensors, on many threads and in whole rounds.</summary>
internal static unsafe class CpuComparison
{
    // Inputs of a weighted sum; chosen.
    private const int Inputs = 3;

    public static void WeightedSumHasTheSameBits(IComputeBackend backend, DType dtype, int length)
    {
        var random = new Random(7);
        int size = dtype.BitSize / 8;
        byte[][] inputs = [.. Enumerable.Range(0, Inputs).Select(_ => FiniteValues(random, dtype, length))];
        byte[] expected = new byte[(long)length * size], actual = new byte[(long)length * size];
        random.NextBytes(actual);
        fixed (byte* a = inputs[0], b = inputs[1], c = inputs[2], e = expected, o = actual)
        {
            TensorPanel[] panels = [new(a, dtype), new(b, dtype), new(c, dtype)];
            long nonFinite = new SimdBackend().WeightedSum(panels, [3, 5, 0.1], 8.1, length, new TensorPanel(e, dtype));
            Assert.That(backend.WeightedSum(panels, [3, 5, 0.1], 8.1, length, new TensorPanel(o, dtype)), Is.EqualTo(nonFinite));
        }

        Assert.That(actual.AsSpan().SequenceEqual(expected), Is.True);
    }

    /// <summary>Launches one kernel from many threads, each with its own inputs, weights and length.</summary>
    public static void ConcurrentWeightedSumsHaveTheSameBits(IComputeBackend backend)
    {
        int wrong = 0;
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, thread =>
        {
            var random = new Random(thread);
            int length = 1000 + 100 * thread;
            byte[][] inputs = [.. Enumerable.Range(0, Inputs).Select(_ => FiniteValues(random, DType.F32, length))];
            float[] expected = new float[length], actual = new float[length];
            fixed (byte* a = inputs[0], b = inputs[1], c = inputs[2])
            fixed (float* e = expected, o = actual)
            {
                TensorPanel[] panels = [new(a, DType.F32), new(b, DType.F32), new(c, DType.F32)];
                double[] weights = [thread, 1, 0.5];
                new SimdBackend().WeightedSum(panels, weights, 3, length, new TensorPanel(e, DType.F32));
                for (int round = 0; round < 100; round++)
                {
                    actual.AsSpan().Clear();
                    backend.WeightedSum(panels, weights, 3, length, new TensorPanel(o, DType.F32));
                    if (!MemoryMarshal.AsBytes(actual.AsSpan()).SequenceEqual(MemoryMarshal.AsBytes(expected.AsSpan())))
                        Interlocked.Increment(ref wrong);
                }
            }
        });
        Assert.That(wrong, Is.Zero);
    }

    /// <summary>
    /// Compares whole rounds: FedICU may differ by one unit in the last place, other strategies must have the same
    /// bits.
    /// </summary>
    public static void RoundsAgree(IComputeBackend backend, string strategy)
    {
        var random = new Random(3);
        (string, int[])[] tensors = [("wide", [300, 1000]), ("narrow", [4000, 8]), ("bias", [777]), ("cube", [3, 50, 60])];
        MemoryModel[] models = [.. Enumerable.Range(0, 5).Select(_ => Model())];
        MemoryModel expected = Aggregate(new SimdBackend()), actual = Aggregate(backend);
        foreach ((string name, int[] shape) in tensors)
        {
            ReadOnlySpan<float> right = Values(expected, name), made = Values(actual, name);
            for (int i = 0; i < right.Length; i++)
            {
                float allowed = strategy == "fedicu" ? Math.Max(Math.Abs(MathF.BitIncrement(right[i]) - right[i]), float.Epsilon) : 0;
                if (!(Math.Abs(right[i] - made[i]) <= allowed))
                    Assert.Fail($"{strategy}, {name} at {i}: {made[i]:R}, expected {right[i]:R}");
            }
        }

        MemoryModel Model()
        {
            var model = new MemoryModel();
            foreach ((string name, int[] shape) in tensors)
            {
                int length = shape.Aggregate(1, (a, b) => a * b);
                long[] dimensions = [.. shape.Select(dimension => (long)dimension)];
                model.Add(name, dimensions, [.. Enumerable.Range(0, length).Select(_ => random.NextSingle() - 0.5f)]);
            }

            return model;
        }

        MemoryModel Aggregate(IComputeBackend on)
        {
            var round = new AggregationRound(models[0], new RoundOptions { Backend = on, Threads = 2 });
            for (int k = 1; k < models.Length; k++)
                round.Add(ClientUpdate.FromTensors($"c{k}", models[k], examples: 10 * k));
            var sink = new MemorySink();
            StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
            return sink.Model;
        }
    }

    private static ReadOnlySpan<float> Values(MemoryModel model, string name)
    {
        TensorInfo info = model.Find(name)!;
        byte[] bytes = new byte[info.ByteLength];
        model.Read(info, 0, bytes);
        return MemoryMarshal.Cast<byte, float>(bytes);
    }

    private static byte[] FiniteValues(Random random, DType dtype, int length)
    {
        byte[] bytes = new byte[(long)length * (dtype.BitSize / 8)];
        fixed (byte* data = bytes)
        {
            var panel = new TensorPanel(data, dtype);
            for (int i = 0; i < length; i++)
                Rounding.Write(panel.Data, dtype, i, (random.NextDouble() - 0.5) * Math.ScaleB(1, random.Next(-20, 8)));
        }

        return bytes;
    }
}
