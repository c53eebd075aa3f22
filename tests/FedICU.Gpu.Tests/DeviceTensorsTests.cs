using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Compute.Simd;
using ILGPU.Runtime;

namespace FedICU.Gpu.Tests;

/// <summary>Tensors that lie on the device already, on ILGPU's debugging device, whose memory has addresses as CUDA's has.</summary>
internal sealed unsafe class DeviceTensorsTests
{
    private static readonly (string Name, long[] Shape)[] Tensors = [("wide", [30, 130]), ("narrow", [400, 8]), ("odd", [7, 9]), ("bias", [77]), ("one", [1])];

    private GpuBackend _backend = null!;

    [OneTimeSetUp]
    public void Create() => _backend = CpuAcceleratorContractTests.CreateBackend();

    [OneTimeTearDown]
    public void Free() => _backend.Dispose();

    [Test]
    public void ARoundOnTheDeviceIsTheRoundOnTheHost(
        [Values("fedavg", "fedicu", "fedicu axis=rows", "fedicu axis=tensor", "fedicu target=delta", "fedicu weights=relu")] string strategy, [Values] DType4 type, [Values] bool toDevice)
    {
        DType dtype = Enum.Parse<DType>(type.ToString());
        MemoryModel[] models = Models(dtype);
        DeviceTensors[] there = [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];
        using var expected = new MemorySink();
        using var onHost = new MemorySink();
        using var onDevice = new DeviceSink(_backend);
        Aggregate(models, strategy, new SimdBackend(), expected);
        Aggregate(there, strategy, _backend, toDevice ? onDevice : onHost);
        TensorSource result = toDevice ? onDevice.Model : onHost.Model;
        foreach (TensorInfo tensor in expected.Model.Tensors)
        {
            double[] one = Values(expected.Model, tensor), other = Values(result, tensor);
            double largest = one.Max(Math.Abs);
            for (int i = 0; i < one.Length; i++)
            {
                double step = dtype switch { DType.F64 => largest * 64 / (1L << 53), DType.F32 => Ulp(one[i], 24), DType.F16 => Math.Max(Ulp(one[i], 11), 1.0 / (1 << 24)), _ => Ulp(one[i], 8) };
                Assert.That(other[i], strategy == "fedavg" ? Is.EqualTo(one[i]) : Is.EqualTo(one[i]).Within(step), $"{strategy}, {dtype}, {tensor.Name} at {i}");
            }
        }

        Array.ForEach(there, tensors => tensors.Dispose());
    }

    [Test]
    public void AnUpdateMadeOnTheDeviceIsTheOneMadeOnTheHost(
        [Values("hard", "soft", "top=0.3", "noise")] string mask, [Values("zscore", "minmax", "rank")] string importance, [Values] DType4 type, [Values] bool withMomentum)
    {
        DType dtype = Enum.Parse<DType>(type.ToString());
        MemoryModel[] models = [.. Models(dtype, 1), Model(dtype == DType.F64 ? DType.F64 : DType.F32, new Random(8), Tensors)];
        DeviceTensors[] there = [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];
        var options = FedIcuClientOptions.FromSettings([new("mask", mask), new("importance", importance)]) with { Threads = 2 };
        using MemorySink expected = new(), expectedMomentum = new(), actual = new(), actualMomentum = new();
        new FedIcuClient(options).CreateUpdate(models[0], models[1], expected, withMomentum ? models[2] : null, expectedMomentum, backend: new SimdBackend());
        new FedIcuClient(options).CreateUpdate(there[0], there[1], actual, withMomentum ? there[2] : null, actualMomentum, backend: _backend);
        foreach ((MemorySink made, MemorySink right) in ((MemorySink, MemorySink)[])[(actual, expected), (actualMomentum, expectedMomentum)])
        {
            Assert.That(made.Model.Tensors, Is.EqualTo(right.Model.Tensors));
            Assert.That(made.Model.Metadata, Is.EquivalentTo(right.Model.Metadata));
            foreach (TensorInfo tensor in right.Model.Tensors)
            {
                byte[] one = new byte[tensor.ByteLength], other = new byte[tensor.ByteLength];
                right.Model.Read(tensor, 0, one);
                made.Model.Read(tensor, 0, other);
                // soft shares come from means, which a device sums in another order
                if (mask == "soft" && tensor.DType == DType.F64)
                    Assert.That(Values(made.Model, tensor), Is.EqualTo(Values(right.Model, tensor)).Within(4.0 * 64 / (1L << 53)), $"{importance}, {tensor}");
                else
                    Assert.That(other, Is.EqualTo(one), $"{mask}, {importance}, {tensor}");
            }
        }

        Array.ForEach(there, tensors => tensors.Dispose());
    }

    [Test]
    public void OfManyClientsTheCombinationStaysOnTheDevice([Values(3, 5, 20)] int clients)
    {
        MemoryModel[] models = Models(DType.F32, clients);
        DeviceTensors[] there = [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];
        var counted = new GuardedBackendTests.Failing(new GuardedBackendTests.FakeFailure("never"), int.MaxValue, _backend);
        using var expected = new MemorySink();
        using var sink = new DeviceSink(_backend);
        Aggregate(models, "fedicu", new SimdBackend(), expected);
        Aggregate(there, "fedicu", counted, sink);
        foreach (TensorInfo tensor in expected.Model.Tensors)
            Assert.That(Values(sink.Model, tensor).Zip(Values(expected.Model, tensor)), Is.All.Matches<(double A, double B)>(pair => Math.Abs(pair.A - pair.B) <= Ulp(pair.B, 24)));
        // four looks at the clients, or three and one at their combination
        long elements = Tensors.Sum(tensor => tensor.Shape.Aggregate(1L, (product, length) => product * length));
        Assert.That(counted.ElementsRead, Is.EqualTo((clients > 4 ? 3 * clients + 1 : 4 * clients) * elements));
        Array.ForEach(there, tensors => tensors.Dispose());
    }

    [Test]
    public void FactorsOnTheDeviceAreBalancedThroughTheHost()
    {
        (string, long[])[] factors = [("m.lora_A.weight", [4, 33]), ("m.lora_B.weight", [21, 4]), ("m.bias", [21])];
        MemoryModel[] models = [.. Enumerable.Range(0, 4).Select(k => Model(DType.F32, new Random(k), factors))];
        DeviceTensors[] there = [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];
        using var expected = new MemorySink();
        using var onDevice = new DeviceSink(_backend);
        Aggregate(models, "fedavg balance=true", new SimdBackend(), expected);
        Aggregate(there, "fedavg balance=true", _backend, onDevice);
        foreach (TensorInfo tensor in expected.Model.Tensors)
            Assert.That(Values(onDevice.Model, tensor), Is.EqualTo(Values(expected.Model, tensor)).Within(1e-6), tensor.Name);
    }

    [Test]
    public void MemoryIsTakenOnceForTensorAfterTensor()
    {
        IComputeBackend backend = _backend;
        nint Take(long bytes)
        {
            using IDisposable? memory = backend.AllocateOnDevice(bytes, out nint address);
            Assert.That(memory, Is.Not.Null);
            return address;
        }

        nint first = Take(1 << 20);
        Assert.That(Take(1 << 19), Is.EqualTo(first));
        using (backend.AllocateOnDevice(1 << 19, out nint one))
            Assert.That(Take(1 << 19), Is.Not.EqualTo(one), "what is lent is not lent twice");
        Assert.That(backend.AllocateOnDevice(1L << 60, out _), Is.Null, "who can do without goes on");
        Assert.That(() => _backend.Allocate(1L << 60), Throws.InstanceOf<Exception>().With.Matches<Exception>(DeviceFailure.Is));
        // what was kept went back, and is taken anew
        ARoundOnTheDeviceIsTheRoundOnTheHost("fedavg", DType4.F32, toDevice: true);
    }

    [Test]
    public void WhatTheCallerHasThereIsTakenWhereItIs()
    {
        // not at a multiple of sixteen bytes, nor as many
        float* memory = (float*)NativeMemory.AlignedAlloc(4096, 64);
        var info = new TensorInfo("w", DType.F32, new TensorShape(5, 7));
        DeviceTensors[] models = [.. Enumerable.Range(0, 3).Select(k =>
        {
            var model = new DeviceTensors(_backend);
            model.Add(info, (nint)(memory + 1 + 100 * k));
            return model;
        })];
        for (int i = 0; i < 1024; i++)
            memory[i] = i;
        using var sink = new DeviceSink(_backend);
        Aggregate(models, "fedavg", _backend, sink);
        Assert.That(Values(sink.Model, info), Is.EqualTo(Enumerable.Range(0, 35).Select(i => i + 1 + (10 * 100 + 20 * 200) / 30.0).Select(value => (double)(float)value)));
        Assert.That(models[0].AddressOf(info), Is.EqualTo((nint)(memory + 1)));
        NativeMemory.AlignedFree(memory);
    }

    [Test]
    public void AnotherBackendReadsCopies()
    {
        MemoryModel[] models = Models(DType.F32);
        DeviceTensors[] there = [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];
        using var expected = new MemorySink();
        using var actual = new MemorySink();
        Aggregate(models, "fedicu", new SimdBackend(), expected);
        Aggregate(there, "fedicu", new SimdBackend(), actual);
        foreach (TensorInfo tensor in expected.Model.Tensors)
            Assert.That(Values(actual.Model, tensor), Is.EqualTo(Values(expected.Model, tensor)));
        Array.ForEach(there, tensors => tensors.Dispose());
    }

    [Test]
    public void ADeviceThatIsLostTakesItsTensorsWithIt()
    {
        MemoryModel[] models = Models(DType.F32);
        DeviceTensors[] there = [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];
        var warnings = new List<string>();
        using var guarded = new GuardedBackend(new GuardedBackendTests.Failing(new GuardedBackendTests.FakeFailure("the device was lost"), 2, _backend), "fake: a device", new GpuOptions { Warning = warnings.Add });
        using var sink = new MemorySink();
        var thrown = Assert.Catch<FedIcuException>(() => Aggregate(there, "fedicu", guarded, sink));
        Assert.That(thrown!.Message, Is.EqualTo("fake: a device failed: the device was lost."));
        Assert.That(() => sink.Model, Throws.InvalidOperationException, "no model was made");
        Assert.That(warnings, Is.Empty);
        Array.ForEach(there, tensors => tensors.Dispose());
    }

    [Test]
    public void ManyRoundsTakeNoMoreMemory()
    {
        MemoryModel[] models = [.. Enumerable.Range(0, 3).Select(_ => Model(DType.F32, new Random(1), [("w", [16, 16])]))];
        using var sink = new MemorySink();
        long Run(int rounds)
        {
            for (int i = 0; i < rounds; i++)
                Aggregate(models, "fedavg", _backend, sink);
            return GC.GetTotalMemory(forceFullCollection: true);
        }

        Run(200);
        long before = Run(1);
        Assert.That(Run(1000) - before, Is.LessThan(1 << 20));
    }

    [Test]
    public void ALongTensorIsRight()
    {
        Assert.That(LongTensor.Try(_backend, 700), Is.Null);
        Assert.That(_backend.VerifyLongTensor(out string? reason), Is.Null);
        Assert.That(reason, Does.Contain("tensors of more than 2^31 elements were not tried: 16 GiB of a CUDA device and 32 GiB of the host were expected, 0 and "));
    }

    [Test]
    public void LongSumsAreRight() => Assert.That(LongSums.AreRight(_backend), Is.True);

    [Test]
    public void PanelsOfTwoPlacesAreRefused()
    {
        float* values = stackalloc float[64];
        TensorPanel here = new(values, DType.F32), there = new(values, DType.F32, onDevice: true);
        var geometry = new PanelGeometry(8, 8, GroupsAreColumns: true);
        Assert.That(() => _backend.WeightedSum([here, there], [1, 1], 1, 64, here), Throws.ArgumentException);
        Assert.That(() => _backend.WeightedSum([here], [1], 1, 64, there), Throws.ArgumentException);
        Assert.That(() => _backend.AddSquares([there, here], geometry, default), Throws.ArgumentException);
        Assert.That(() => _backend.AddProximal(here, here, 1, 64, there), Throws.ArgumentException);
        Assert.That(() => _backend.SelectImportant(new(there, here, default, MomentumRule.None, 0), 64, default, default, null, default), Throws.ArgumentException);
    }

    [Test]
    public void ChunksAreNeitherTinyNorHuge([Values(0, 1L << 31)] long bytes) => Assert.That(() => new GpuOptions { ChunkBytes = bytes }, Throws.InstanceOf<ArgumentOutOfRangeException>());

    [Test]
    public void WhatALostDeviceSaysWhenItIsFreedHidesNothing() => Assert.That(() => DeviceFailure.Free(new Lost()), Throws.Nothing);

    private sealed class Lost : IDisposable
    {
        public void Dispose() => throw new GuardedBackendTests.FakeFailure("the device was lost");
    }

    [Test]
    public void WhatDoesNotFitIsRefused()
    {
        using var tensors = new DeviceTensors(_backend);
        var info = new TensorInfo("w", DType.F32, new TensorShape(4));
        tensors.Add(info);
        Assert.That(() => tensors.Add(info), Throws.ArgumentException.With.Message.StartsWith("Tensor 'w' was added already."));
        Assert.That(() => tensors.Add(info with { Name = "v" }, 6), Throws.ArgumentException.With.Message.StartsWith("Tensor 'v' of F32 [4]: its address 6 is no multiple of 4."));
        Assert.That(() => tensors.Read(info, 12, new byte[8]), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => tensors.AddressOf(info with { Name = "v" }), Throws.ArgumentException);
    }

    private static void Aggregate(IReadOnlyList<TensorSource> models, string strategy, IComputeBackend backend, TensorSink sink)
    {
        string[] parts = strategy.Split(' ');
        ConfiguredRound configured = AggregatorCatalog.Create(
            parts[0], [.. parts.Skip(1).Select(part => new KeyValuePair<string, string>(part.Split('=')[0], part.Split('=')[1]))], new RoundOptions { Backend = backend, Threads = 2 });
        var round = new AggregationRound(models[0]) { Options = configured.Options };
        for (int k = 1; k < models.Count; k++)
            round.Add(ClientUpdate.FromTensors($"c{k}", models[k], examples: 10 * k));
        configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static MemoryModel[] Models(DType dtype, int clients = 3)
    {
        // clients agree in the main: of directions at right angles relu makes weights of roundings
        var random = new Random(5);
        return [.. Enumerable.Range(0, 1 + clients).Select(_ => Model(dtype, random, Tensors))];
    }

    private static MemoryModel Model(DType dtype, Random random, (string, long[])[] tensors)
    {
        TensorInfo[] infos = [.. tensors.Select(tensor => new TensorInfo(tensor.Item1, dtype, new TensorShape(tensor.Item2)))];
        var model = new MemoryModel();
        foreach (TensorInfo info in infos)
        {
            byte[] bytes = new byte[info.ByteLength];
            fixed (byte* data = bytes)
            {
                for (int i = 0; i < info.ElementCount; i++)
                    Rounding.Write(data, dtype, i, i % 7 - 3 + random.NextDouble());
            }

            model.Add(info, bytes);
        }

        return model;
    }

    private static double[] Values(TensorSource model, TensorInfo tensor)
    {
        byte[] bytes = new byte[tensor.ByteLength];
        model.Read(tensor, 0, bytes);
        fixed (byte* data = bytes)
        {
            double[] values = new double[tensor.ElementCount];
            for (int i = 0; i < values.Length; i++)
                values[i] = Rounding.Read(data, tensor.DType, i);
            return values;
        }
    }

    private static double Ulp(double value, int digits) => value == 0 ? double.Epsilon : Math.ScaleB(1, Math.ILogB(value) - digits + 1);

    /// <summary>The types that are computed.</summary>
    public enum DType4
    {
        F64,
        F32,
        F16,
        BF16,
    }
}
