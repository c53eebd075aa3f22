using FedICU.Compute;

namespace FedICU.Gpu.Verification;

/// <summary>
/// Compares the weighted sum of a long vector with the CPU's, bit for bit: from the host in many chunks and, if the
/// device has addresses, on the device.
/// </summary>
internal static class LongSumCheck
{
    // Elements. Chosen: more than a device starts threads (4096 blocks of 256), and not a multiple of a vector or a
    // block.
    private const int Length = 3_000_001;

    public static bool Passes(GpuBackend backend)
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
        if (!AreEqual(expected.Model, onHost.Model, info))
            return false;
        if (!backend.HasAddresses)
            return true;
        using DeviceTensors first = DeviceTensors.CopyOf(models[0], backend), second = DeviceTensors.CopyOf(models[1], backend);
        using var onDevice = new DeviceSink(backend);
        Aggregate("fedavg", [first, second], backend, onDevice);
        return AreEqual(expected.Model, onDevice.Model, info);
    }

    /// <summary>Runs a round in which every model is a client's; the first is the global model too.</summary>
    public static void Aggregate(string strategy, TensorSource[] models, IComputeBackend backend, TensorSink sink)
    {
        var round = new AggregationRound(models[0], new RoundOptions { Backend = backend });
        for (int k = 0; k < models.Length; k++)
            round.Add(ClientUpdate.FromTensors($"{k}", models[k], examples: k + 3));
        StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static bool AreEqual(TensorSource expected, TensorSource actual, TensorInfo tensor)
    {
        byte[] expectedBytes = new byte[tensor.ByteLength], actualBytes = new byte[tensor.ByteLength];
        expected.Read(tensor, 0, expectedBytes);
        actual.Read(tensor, 0, actualBytes);
        return expectedBytes.AsSpan().SequenceEqual(actualBytes);
    }
}
