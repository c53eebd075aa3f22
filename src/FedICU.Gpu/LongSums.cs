using FedICU.Compute;

namespace FedICU.Gpu;

/// <summary>A weighted sum of more elements than a device has threads, from the host in many chunks and, where tensors can lie there, on the device, held against the processor.</summary>
internal static class LongSums
{
    private const int Length = 3_000_001;

    public static bool AreRight(GpuBackend backend)
    {
        var random = new Random(1);
        var info = new TensorInfo("sum", DType.F32, new TensorShape(Length));
        var models = new MemoryModel[2];
        for (int k = 0; k < models.Length; k++)
        {
            float[] values = new float[Length];
            for (int i = 0; i < Length; i++)
                values[i] = random.NextSingle() - 0.5f;
            models[k] = new MemoryModel();
            models[k].Add(info.Name, [Length], values);
        }

        using MemorySink expected = new(), onHost = new();
        Aggregate("fedavg", models, new SimdBackend(), expected);
        Aggregate("fedavg", models, backend, onHost);
        if (!Same(expected.Model, onHost.Model, info))
            return false;
        if (!backend.HasAddresses)
            return true;
        using DeviceTensors first = DeviceTensors.CopyOf(models[0], backend), second = DeviceTensors.CopyOf(models[1], backend);
        using var onDevice = new DeviceSink(backend);
        Aggregate("fedavg", [first, second], backend, onDevice);
        return Same(expected.Model, onDevice.Model, info);
    }

    /// <summary>A round of the models, the first of which is the global one too.</summary>
    public static void Aggregate(string strategy, TensorSource[] models, IComputeBackend backend, TensorSink sink)
    {
        var round = new AggregationRound(models[0], new RoundOptions { Backend = backend });
        for (int k = 0; k < models.Length; k++)
            round.Add(ClientUpdate.FromTensors($"{k}", models[k], examples: k + 3));
        AggregatorCatalog.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static bool Same(TensorSource one, TensorSource other, TensorInfo tensor)
    {
        byte[] first = new byte[tensor.ByteLength], second = new byte[tensor.ByteLength];
        one.Read(tensor, 0, first);
        other.Read(tensor, 0, second);
        return first.AsSpan().SequenceEqual(second);
    }
}
