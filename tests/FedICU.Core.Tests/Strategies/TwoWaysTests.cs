using FedICU.Panels;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// The split's two ways to the same numbers: one Gram pass over a tensor beyond the caches, separate passes over
/// smaller ones. With one set of weights for the model, a matrix gives the same result as its parts of columns (or
/// rows) in tensors of their own.
/// </summary>
[Parallelizable(ParallelScope.Self)]
internal sealed class TwoWaysTests
{
    private const int Size = 2400, Parts = 2, Clients = 3;

    [Test]
    public void BothWaysGiveTheSameResult([Values(NormAxis.Columns, NormAxis.Rows)] NormAxis axis, [Values] bool previousEnters)
    {
        Assert.That((long)Size * Size * Clients, Is.GreaterThanOrEqualTo(TensorPasses.GramValues), "the whole takes the Gram pass");
        Assert.That((long)Size * Size / Parts * (Clients + 1), Is.LessThan(TensorPasses.GramValues), "its parts take separate passes");
        Assert.That(new Grouping(new TensorShape(Size, Size / Parts), NormAxis.Columns).Fold, Is.EqualTo(1), "its parts are not narrow");
        var aggregator = new FedIcuAggregator(new FedIcuOptions
        {
            Axis = axis,
            Granularity = Granularity.Model,
            Similarity = previousEnters ? Similarity.PreviousDirection : Similarity.Pairwise,
            Weights = previousEnters ? WeightRule.Raw : WeightRule.Softmax,
            // equal weights, with which opposite directions cancel
            Tau = previousEnters ? 1 : double.PositiveInfinity,
        });
        float[][] inputs = [.. Enumerable.Range(0, Clients + 1).Select(k => Values(k, axis))];
        (double[] whole, byte[] bits) = Run(aggregator, inputs, axis, parts: 1, threads: 2);
        (double[] cut, _) = Run(aggregator, inputs, axis, Parts, threads: 2);
        double worst = whole.Zip(cut, (one, other) => Math.Abs(one - other) / (Math.Abs(other) + 1e-3)).Max();
        // if directions cancel to 1e-5, a quadratic form whose lost digits are not restored is off by 1e-5
        Assert.That(worst, Is.LessThan(1e-7));
        Assert.That(Run(aggregator, inputs, axis, parts: 1, threads: 7).Bits.AsSpan().SequenceEqual(bits), "7 threads give the bits of 2");
    }

    [Test]
    public void ManyClientsInMemoryOrInFilesGiveTheSameBits([Values] bool aColumnVanishes)
    {
        // beyond the caches, the combination of many inputs in memory is stored; that of files is computed again
        using var folder = new TempFolder();
        MemoryModel Model(int seed)
        {
            var random = new Random(seed);
            float[] values = [.. Enumerable.Range(0, 1100 * 1201).Select(
                i => aColumnVanishes && i % 1201 == 7 && seed > 0 ? 0 : random.NextSingle() - 0.5f)];
            return new MemoryModel { { "w", [1100, 1201], values } };
        }

        MemoryModel[] models = [.. Enumerable.Range(0, 15).Select(Model)];
        for (int k = 1; k < models.Length; k++)
            models[k].SaveTo(TensorSink.ToFile(folder[$"{k}"]));
        (_, MemorySink kept) = Models.Run(
            new FedIcuAggregator(), models[0], models.Skip(1).Select((model, k) => ClientUpdate.FromTensors($"{k:00}", model, 1)));
        (_, MemorySink again) = Models.Run(
            new FedIcuAggregator(), models[0], models.Skip(1).Select((_, k) => ClientUpdate.FromFile($"{k:00}", folder[$"{k + 1}"], 1)));
        using (kept)
        using (again)
            Assert.That(Models.AllBytes(again.Model).AsSpan().SequenceEqual(Models.AllBytes(kept.Model)));
    }

    /// <summary>
    /// Returns the global model's matrix (0) or a client's. Some groups cancel, wholly or to the fifth digit, and some
    /// are zero.
    /// </summary>
    private static float[] Values(int input, NormAxis axis)
    {
        var random = new Random(input);
        var opposed = new Random(77);
        float[] values = new float[Size * Size];
        for (int i = 0; i < values.Length; i++)
        {
            float own = random.NextSingle() - 0.5f, common = opposed.NextSingle() - 0.5f;
            int group = axis == NormAxis.Columns ? i % Size : i / Size;
            values[i] = (group % 600, input) switch
            {
                (_, 0) => own,
                (5, 1) or (301, 1) => common,
                (5, 2) => -common,
                (301, 2) => -common * (1 + 1e-5f * own),
                (5 or 301, 3) or (500, _) => 0,
                _ => own,
            };
        }

        return values;
    }

    private static (double[] Values, byte[] Bits) Run(IAggregator aggregator, float[][] inputs, NormAxis axis, int parts, int threads)
    {
        MemoryModel[] models = [.. inputs.Select(values => Cut(values, axis, parts))];
        ClientUpdate[] updates = [.. models.Skip(1).Select((model, k) => ClientUpdate.FromTensors($"client-{k}", model, 10 + k))];
        (_, MemorySink sink) = Models.Run(aggregator, models[0], updates, new RoundOptions { OutputDType = DType.F64, Threads = threads });
        using (sink)
        {
            double[] result = new double[Size * Size];
            for (int part = 0; part < parts; part++)
            {
                double[] values = Models.ToDoubles(sink.Model, $"part-{part}");
                for (int i = 0; i < values.Length; i++)
                    result[Place(axis, parts, part, i)] = values[i];
            }

            return (result, Models.AllBytes(sink.Model));
        }
    }

    private static MemoryModel Cut(float[] values, NormAxis axis, int parts)
    {
        var model = new MemoryModel();
        for (int part = 0; part < parts; part++)
        {
            float[] cut = new float[values.Length / parts];
            for (int i = 0; i < cut.Length; i++)
                cut[i] = values[Place(axis, parts, part, i)];
            model.Add($"part-{part}", axis == NormAxis.Columns ? [Size, Size / parts] : [Size / parts, Size], cut);
        }

        return model;
    }

    /// <summary>Returns the index in the whole of element i of a part.</summary>
    private static int Place(NormAxis axis, int parts, int part, int i)
    {
        int width = Size / parts;
        return axis == NormAxis.Columns ? i / width * Size + part * width + i % width : part * width * Size + i;
    }
}
