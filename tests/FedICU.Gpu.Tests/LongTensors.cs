using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU.Gpu.Tests;

/// <summary>What a device must do with many values, held against the processor.</summary>
internal static unsafe class LongTensors
{
    private const int Inputs = 3;

    public static void HaveTheProcessorsBits(IComputeBackend backend, DType dtype, int length)
    {
        var random = new Random(7);
        int size = dtype.BitSize / 8;
        byte[][] inputs = [.. Enumerable.Range(0, Inputs).Select(_ => Finite(random, dtype, length))];
        byte[] expected = new byte[(long)length * size], actual = new byte[(long)length * size];
        random.NextBytes(actual);
        fixed (byte* a = inputs[0], b = inputs[1], c = inputs[2], e = expected, o = actual)
        {
            TensorPanel[] panels = [new(a, dtype), new(b, dtype), new(c, dtype)];
            long faults = new SimdBackend().WeightedSum(panels, [3, 5, 0.1], 8.1, length, new TensorPanel(e, dtype));
            Assert.That(backend.WeightedSum(panels, [3, 5, 0.1], 8.1, length, new TensorPanel(o, dtype)), Is.EqualTo(faults));
        }

        Assert.That(actual.AsSpan().SequenceEqual(expected), Is.True);
    }

    /// <summary>Many threads that launch the same kernel, each with inputs, weights and lengths of its own: the processor's bits.</summary>
    public static void ThreadsAgree(IComputeBackend backend)
    {
        int wrong = 0;
        Parallel.For(0, 8, new ParallelOptions { MaxDegreeOfParallelism = 8 }, thread =>
        {
            var random = new Random(thread);
            int length = 1000 + 100 * thread;
            byte[][] inputs = [.. Enumerable.Range(0, Inputs).Select(_ => Finite(random, DType.F32, length))];
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

    /// <summary>FedAvg and FedProx to the last bit, others to one unit in the last place.</summary>
    public static void RoundsAgree(IComputeBackend backend, string strategy)
    {
        var random = new Random(3);
        (string, int[])[] tensors = [("wide", [300, 1000]), ("narrow", [4000, 8]), ("bias", [777]), ("cube", [3, 50, 60])];
        MemoryModel[] models = [.. Enumerable.Range(0, 5).Select(_ => Model())];
        MemoryModel expected = Aggregate(new SimdBackend()), actual = Aggregate(backend);
        foreach ((string name, int[] shape) in tensors)
        {
            ReadOnlySpan<float> one = Values(expected, name), other = Values(actual, name);
            for (int i = 0; i < one.Length; i++)
            {
                float allowed = strategy == "fedicu" ? Math.Max(Math.Abs(MathF.BitIncrement(one[i]) - one[i]), float.Epsilon) : 0;
                if (!(Math.Abs(one[i] - other[i]) <= allowed))
                    Assert.Fail($"{strategy}, {name} at {i}: {one[i]:R} and {other[i]:R}");
            }
        }

        MemoryModel Model()
        {
            var model = new MemoryModel();
            foreach ((string name, int[] shape) in tensors)
                model.Add(name, [.. shape.Select(dimension => (long)dimension)], [.. Enumerable.Range(0, shape.Aggregate(1, (a, b) => a * b)).Select(_ => random.NextSingle() - 0.5f)]);
            return model;
        }

        MemoryModel Aggregate(IComputeBackend on)
        {
            var round = new AggregationRound(models[0], new RoundOptions { Backend = on, Threads = 2 });
            for (int k = 1; k < models.Length; k++)
                round.Add(ClientUpdate.FromTensors($"c{k}", models[k], examples: 10 * k));
            var sink = new MemorySink();
            AggregatorCatalog.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
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

    private static byte[] Finite(Random random, DType dtype, int length)
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
