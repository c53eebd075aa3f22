using FedICU.Compute;

namespace FedICU.Tests;

/// <summary>Small models and rounds for tests.</summary>
internal static class Models
{
    public static MemoryModel Of(string name, long[] shape, params float[] values) => new() { { name, shape, values } };

    public static MemoryModel Of64(string name, long[] shape, params double[] values) => new() { { name, shape, values } };

    /// <summary>Aggregates in memory and returns the report and the sink, which the caller disposes.</summary>
    public static (RoundReport Report, MemorySink Sink) Run(
        IAggregator aggregator, TensorSource global, IEnumerable<ClientUpdate> updates, RoundOptions? options = null)
    {
        var round = new AggregationRound(global) { Options = options ?? new RoundOptions() };
        foreach (ClientUpdate update in updates)
            round.Add(update);
        var sink = new MemorySink();
        try
        {
            return (aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report, sink);
        }
        catch
        {
            Assert.That(() => sink.Model, Throws.InvalidOperationException, "a failed round leaves no output");
            sink.Dispose();
            throw;
        }
    }

    /// <summary>Aggregates in memory and returns the report alone.</summary>
    public static RoundReport RunForReport(
        IAggregator aggregator, TensorSource global, IEnumerable<ClientUpdate> updates, RoundOptions? options = null)
    {
        (RoundReport report, MemorySink sink) = Run(aggregator, global, updates, options);
        sink.Dispose();
        return report;
    }

    /// <summary>Asserts that two models have the same bits, and disposes both.</summary>
    public static void AssertSameBits(MemorySink found, MemorySink expected)
    {
        using (found)
        using (expected)
            Assert.That(AllBytes(found.Model), Is.EqualTo(AllBytes(expected.Model)));
    }

    public static double[] ToDoubles(TensorSource model, string name)
    {
        TensorInfo info = model.Find(name)!;
        byte[] bytes = new byte[info.ByteLength];
        model.Read(info, 0, bytes);
        return ToDoubles(bytes, info);
    }

    public static unsafe double[] ToDoubles(byte[] bytes, TensorInfo info)
    {
        double[] values = new double[info.ElementCount];
        fixed (byte* data = bytes)
        {
            for (int i = 0; i < values.Length; i++)
                values[i] = Rounding.Read(data, info.DType, i);
        }

        return values;
    }

    /// <summary>Returns a tensor of the given type with values rounded to it.</summary>
    public static unsafe (TensorInfo Info, byte[] Bytes) Tensor(string name, DType dtype, long[] shape, Func<int, double> value)
    {
        var info = new TensorInfo(name, dtype, new TensorShape(shape));
        byte[] bytes = new byte[info.ByteLength];
        fixed (byte* data = bytes)
        {
            for (int i = 0; i < info.ElementCount; i++)
                Rounding.Write(data, dtype, i, value(i));
        }

        return (info, bytes);
    }

    public static byte[] Bytes(TensorSource model, string name)
    {
        TensorInfo info = model.Find(name)!;
        byte[] bytes = new byte[info.ByteLength];
        model.Read(info, 0, bytes);
        return bytes;
    }

    public static byte[] AllBytes(TensorSource model) => [.. model.Tensors.SelectMany(tensor => Bytes(model, tensor.Name))];

    /// <summary>Returns a model of several shapes with bell-shaped values that depend only on the seed.</summary>
    public static MemoryModel Random(
        int seed, DType dtype = DType.F32, double scale = 1, IReadOnlyDictionary<string, string>? metadata = null, bool large = false)
    {
        var random = new Random(seed);
        var model = new MemoryModel(metadata);
        foreach ((string name, long[] shape) in Shapes(large))
        {
            (TensorInfo info, byte[] bytes) = Tensor(name, dtype, shape,
                _ => scale * (random.NextDouble() + random.NextDouble() + random.NextDouble() - 1.5));
            model.Add(info, bytes);
        }

        return model;
    }

    private static IEnumerable<(string, long[])> Shapes(bool large)
    {
        yield return ("layer.lora_A.weight", [4, 40]);
        yield return ("layer.lora_B.weight", [24, 4]);
        yield return ("norm.weight", [33]);
        yield return ("conv.weight", [6, 3, 5]);
        yield return ("head.weight", [65, 17]);
        yield return ("scalar", []);
        yield return ("empty", [0, 3]);
        if (large)
        {
            yield return ("wide.weight", [3, 300_001]);
            yield return ("tall.weight", [60_001, 8]);
            yield return ("square.weight", [700, 900]);
        }
    }
}
