using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Gpu.Verification;
using ILGPU.Runtime;

namespace FedICU.Gpu.Tests;

/// <summary>
/// Rounds with tensors on the device. They run on ILGPU's CPU accelerator, whose memory has addresses like CUDA's.
/// </summary>
internal sealed unsafe class DeviceTensorsTests
{
    private static readonly (string Name, long[] Shape)[] Tensors =
        [("wide", [30, 130]), ("narrow", [400, 8]), ("odd", [7, 9]), ("bias", [77]), ("one", [1])];

    private GpuBackend _backend = null!;

    [OneTimeSetUp]
    public void Create() => _backend = CpuAcceleratorContractTests.CreateBackend();

    [OneTimeTearDown]
    public void Free() => _backend.Dispose();

    [Test]
    public void ARoundOnTheDeviceGivesTheResultOfTheCpu(
        [Values("fedavg", "fedicu", "fedicu axis=rows", "fedicu axis=tensor", "fedicu target=delta", "fedicu weights=relu")]
        string strategy,
        [Values] ComputedType type, [Values] bool toDevice)
    {
        DType dtype = Enum.Parse<DType>(type.ToString());
        MemoryModel[] models = Models(dtype);
        DeviceTensors[] copies = CopyToDevice(models);
        using var expected = new MemorySink();
        using var onHost = new MemorySink();
        using var onDevice = new DeviceSink(_backend);
        Aggregate(models, strategy, new SimdBackend(), expected);
        Aggregate(copies, strategy, _backend, toDevice ? onDevice : onHost);
        TensorSource result = toDevice ? onDevice.Model : onHost.Model;
        foreach (TensorInfo tensor in expected.Model.Tensors)
        {
            double[] right = Values(expected.Model, tensor), made = Values(result, tensor);
            double largest = right.Max(Math.Abs);
            for (int i = 0; i < right.Length; i++)
            {
                double tolerance = strategy == "fedavg" ? 0 : dtype switch
                {
                    DType.F64 => largest * 64 / (1L << 53),
                    DType.F32 => Ulp(right[i], 24),
                    DType.F16 => Math.Max(Ulp(right[i], 11), 1.0 / (1 << 24)),
                    _ => Ulp(right[i], 8),
                };
                Assert.That(made[i], Is.EqualTo(right[i]).Within(tolerance), $"{strategy}, {dtype}, {tensor.Name} at {i}");
            }
        }

        Array.ForEach(copies, copy => copy.Dispose());
    }

    [Test]
    public void OrderStatisticsAndDistancesReadTheDevicesMemory([Values] bool toDevice)
    {
        // more than one slice, and a rest
        const int Length = (1 << 18) + 77;
        IComputeBackend device = _backend;
        var random = new Random(1);
        var owners = new List<IDisposable?>();
        float[][] values = new float[3][];
        TensorPanel[] onDevice = new TensorPanel[3];
        for (int k = 0; k < 3; k++)
        {
            values[k] = [.. Enumerable.Range(0, Length).Select(_ => random.NextSingle())];
            owners.Add(device.AllocateOnDevice(Length * sizeof(float), out nint address));
            _backend.Write(address, MemoryMarshal.AsBytes<float>(values[k]));
            onDevice[k] = new TensorPanel((void*)address, DType.F32, onDevice: true);
        }

        owners.Add(device.AllocateOnDevice(Length * sizeof(float), out nint target));
        float[] expected = new float[Length], actual = new float[Length];
        double[] expectedSums = [1, 2, 3], sums = [1, 2, 3], expectedProducts = [4, 5], products = [4, 5];
        fixed (float* x = values[0], y = values[1], z = values[2], right = expected, made = actual)
        {
            TensorPanel[] onHost = [new(x, DType.F32), new(y, DType.F32), new(z, DType.F32)];
            var cpu = new SimdBackend();
            cpu.MiddleMean(onHost, 1, Length, new TensorPanel(right, DType.F32));
            cpu.AddPairDistances(onHost, Length, expectedSums);
            cpu.AddDistances(onHost.AsSpan(0, 2), onHost[2], onHost[1], Length, expectedSums, expectedProducts);
            var output = toDevice ? new TensorPanel((void*)target, DType.F32, onDevice: true) : new TensorPanel(made, DType.F32);
            Assert.That(device.MiddleMean(onDevice, 1, Length, output), Is.Zero);
        }

        if (toDevice)
            _backend.Read(target, MemoryMarshal.AsBytes(actual.AsSpan()));
        device.AddPairDistances(onDevice, Length, sums);
        device.AddDistances(onDevice.AsSpan(0, 2), onDevice[2], onDevice[1], Length, sums, products);
        Assert.That(actual, Is.EqualTo(expected));
        Assert.That(sums, Is.EqualTo(expectedSums));
        Assert.That(products, Is.EqualTo(expectedProducts));
        owners.ForEach(owner => owner?.Dispose());
    }

    [Test]
    public void AnUpdateMadeOnTheDeviceIsTheUpdateMadeOnTheCpu(
        [Values("hard", "soft", "top=0.3", "noise")] string mask, [Values("zscore", "minmax", "rank")] string importance,
        [Values] ComputedType type, [Values] bool withMomentum)
    {
        DType dtype = Enum.Parse<DType>(type.ToString());
        MemoryModel momentum = Model(dtype == DType.F64 ? DType.F64 : DType.F32, new Random(8), Tensors);
        MemoryModel[] models = [.. Models(dtype, 1), momentum];
        DeviceTensors[] copies = CopyToDevice(models);
        var options = FedIcuClientOptions.FromSettings([new("mask", mask), new("importance", importance)]) with { Threads = 2 };
        using MemorySink expected = new(), expectedMomentum = new(), actual = new(), actualMomentum = new();
        var client = new FedIcuClient(options);
        client.CreateUpdate(
            models[0], models[1], expected, withMomentum ? models[2] : null, expectedMomentum, backend: new SimdBackend());
        client.CreateUpdate(copies[0], copies[1], actual, withMomentum ? copies[2] : null, actualMomentum, backend: _backend);
        (MemorySink, MemorySink)[] sinks = [(actual, expected), (actualMomentum, expectedMomentum)];
        foreach ((MemorySink made, MemorySink right) in sinks)
        {
            Assert.That(made.Model.Tensors, Is.EqualTo(right.Model.Tensors));
            Assert.That(made.Model.Metadata, Is.EquivalentTo(right.Model.Metadata));
            foreach (TensorInfo tensor in right.Model.Tensors)
            {
                // soft shares come from means, which a device adds in another order
                if (mask == "soft" && tensor.DType == DType.F64)
                {
                    const double Tolerance = 4.0 * 64 / (1L << 53);
                    Assert.That(
                        Values(made.Model, tensor), Is.EqualTo(Values(right.Model, tensor)).Within(Tolerance), $"{importance}, {tensor}");
                }
                else
                {
                    byte[] rightBytes = new byte[tensor.ByteLength], madeBytes = new byte[tensor.ByteLength];
                    right.Model.Read(tensor, 0, rightBytes);
                    made.Model.Read(tensor, 0, madeBytes);
                    Assert.That(madeBytes, Is.EqualTo(rightBytes), $"{mask}, {importance}, {tensor}");
                }
            }
        }

        Array.ForEach(copies, copy => copy.Dispose());
    }

    [Test]
    public void WithManyClientsTheCombinationStaysOnTheDevice([Values(3, 5, 20)] int clients)
    {
        MemoryModel[] models = Models(DType.F32, clients);
        DeviceTensors[] copies = CopyToDevice(models);
        var counted = new GuardedBackendTests.FakeBackend(new GuardedBackendTests.FakeFailure("never"), int.MaxValue, _backend);
        using var expected = new MemorySink();
        using var sink = new DeviceSink(_backend);
        Aggregate(models, "fedicu", new SimdBackend(), expected);
        Aggregate(copies, "fedicu", counted, sink);
        foreach (TensorInfo tensor in expected.Model.Tensors)
        {
            IEnumerable<(double Made, double Right)> pairs = Values(sink.Model, tensor).Zip(Values(expected.Model, tensor));
            Assert.That(
                pairs, Is.All.Matches<(double Made, double Right)>(pair => Math.Abs(pair.Made - pair.Right) <= Ulp(pair.Right, 24)));
        }

        // four passes over the clients, or three passes over the clients and one over their combination
        long elements = Tensors.Sum(tensor => tensor.Shape.Aggregate(1L, (product, length) => product * length));
        Assert.That(counted.ElementsRead, Is.EqualTo((clients > 4 ? 3 * clients + 1 : 4 * clients) * elements));
        Array.ForEach(copies, copy => copy.Dispose());
    }

    [Test]
    public void LoraFactorsOnTheDeviceAreBalancedOnTheHost()
    {
        (string, long[])[] factors = [("m.lora_A.weight", [4, 33]), ("m.lora_B.weight", [21, 4]), ("m.bias", [21])];
        MemoryModel[] models = [.. Enumerable.Range(0, 4).Select(k => Model(DType.F32, new Random(k), factors))];
        DeviceTensors[] copies = CopyToDevice(models);
        using var expected = new MemorySink();
        using var onDevice = new DeviceSink(_backend);
        Aggregate(models, "fedavg balance=true", new SimdBackend(), expected);
        Aggregate(copies, "fedavg balance=true", _backend, onDevice);
        foreach (TensorInfo tensor in expected.Model.Tensors)
            Assert.That(Values(onDevice.Model, tensor), Is.EqualTo(Values(expected.Model, tensor)).Within(1e-6), tensor.Name);
    }

    [Test]
    public void ReturnedMemoryIsLentAgain()
    {
        IComputeBackend backend = _backend;
        nint Borrow(long bytes)
        {
            using IDisposable? memory = backend.AllocateOnDevice(bytes, out nint address);
            Assert.That(memory, Is.Not.Null);
            return address;
        }

        nint first = Borrow(1 << 20);
        Assert.That(Borrow(1 << 19), Is.EqualTo(first));
        using (backend.AllocateOnDevice(1 << 19, out nint lent))
            Assert.That(Borrow(1 << 19), Is.Not.EqualTo(lent), "memory that is lent is not lent twice");
        Assert.That(backend.AllocateOnDevice(1L << 60, out _), Is.Null, "a loan that fails is no error");
        Assert.That(
            () => _backend.Memory.Allocate(1L << 60),
            Throws.InstanceOf<Exception>().With.Matches<Exception>(DeviceFailure.IsDeviceFailure));
        // the failure has freed the memory that was kept; a round allocates it again
        ARoundOnTheDeviceGivesTheResultOfTheCpu("fedavg", ComputedType.F32, toDevice: true);
    }

    [Test]
    public void TensorsOfTheCallerAreReadInPlace()
    {
        // neither the addresses nor the lengths are multiples of 16 bytes
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
        IEnumerable<double> means = Enumerable.Range(0, 35).Select(i => (double)(float)(i + 1 + (10 * 100 + 20 * 200) / 30.0));
        Assert.That(Values(sink.Model, info), Is.EqualTo(means));
        Assert.That(models[0].AddressOf(info), Is.EqualTo((nint)(memory + 1)));
        NativeMemory.AlignedFree(memory);
    }

    [Test]
    public void AnotherBackendReadsCopiesOfTheTensors()
    {
        MemoryModel[] models = Models(DType.F32);
        DeviceTensors[] copies = CopyToDevice(models);
        using var expected = new MemorySink();
        using var actual = new MemorySink();
        Aggregate(models, "fedicu", new SimdBackend(), expected);
        Aggregate(copies, "fedicu", new SimdBackend(), actual);
        foreach (TensorInfo tensor in expected.Model.Tensors)
            Assert.That(Values(actual.Model, tensor), Is.EqualTo(Values(expected.Model, tensor)));
        Array.ForEach(copies, copy => copy.Dispose());
    }

    [Test]
    public void ALostDeviceEndsARoundWithTensorsOnIt()
    {
        MemoryModel[] models = Models(DType.F32);
        DeviceTensors[] copies = CopyToDevice(models);
        var warnings = new List<string>();
        var failing = new GuardedBackendTests.FakeBackend(new GuardedBackendTests.FakeFailure("the device was lost"), 2, _backend);
        using var guarded = new GuardedBackend(failing, "fake: a device", new GpuOptions { Warning = warnings.Add });
        using var sink = new MemorySink();
        var thrown = Assert.Catch<FedIcuException>(() => Aggregate(copies, "fedicu", guarded, sink));
        Assert.That(thrown!.Message, Is.EqualTo("fake: a device failed: the device was lost."));
        Assert.That(() => sink.Model, Throws.InvalidOperationException, "no model is written");
        Assert.That(warnings, Is.Empty);
        Array.ForEach(copies, copy => copy.Dispose());
    }

    [Test]
    public void ManyRoundsUseNoMoreMemoryThanOne()
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
    public void TheLongTensorCheckPassesAndStatesTheMemoryItNeeds()
    {
        Assert.That(LongTensorCheck.FindError(_backend, 700), Is.Null);
        Assert.That(_backend.VerifyLongTensor(out string? reason), Is.Null);
        Assert.That(reason, Does.Contain(
            "tensors of more than 2^31 elements were not checked: this needs 16 GiB of a CUDA device and 32 GiB of the host; 0 and "));
    }

    [Test]
    public void TheLongSumCheckPasses() => Assert.That(LongSumCheck.Passes(_backend), Is.True);

    [Test]
    public void PanelsInTwoMemoriesAreRefused()
    {
        float* values = stackalloc float[64];
        TensorPanel onHost = new(values, DType.F32), onDevice = new(values, DType.F32, onDevice: true);
        var geometry = new PanelGeometry(8, 8, GroupsAreColumns: true);
        var inputs = new ImportanceInputs(onDevice, onHost, default, MomentumRule.None, 0);
        Assert.That(() => _backend.WeightedSum([onHost, onDevice], [1, 1], 1, 64, onHost), Throws.ArgumentException);
        Assert.That(() => _backend.WeightedSum([onHost], [1], 1, 64, onDevice), Throws.ArgumentException);
        Assert.That(() => _backend.AddSquares([onDevice, onHost], geometry, default), Throws.ArgumentException);
        Assert.That(() => _backend.AddProximal(onHost, onHost, 1, 64, onDevice), Throws.ArgumentException);
        Assert.That(() => _backend.SelectImportant(inputs, 64, default, default, null, default), Throws.ArgumentException);
    }

    [Test]
    public void AChunkSizeOutOfRangeIsRefused([Values(0, 1L << 31)] long bytes) =>
        Assert.That(() => new GpuOptions { ChunkBytes = bytes }, Throws.InstanceOf<ArgumentOutOfRangeException>());

    [Test]
    public void FreeingIgnoresAFailureOfTheDevice() => Assert.That(() => DeviceFailure.Free(new HeldByLostDevice()), Throws.Nothing);

    private sealed class HeldByLostDevice : IDisposable
    {
        public void Dispose() => throw new GuardedBackendTests.FakeFailure("the device was lost");
    }

    [Test]
    public void TensorsThatDoNotFitAreRefused()
    {
        using var tensors = new DeviceTensors(_backend);
        var info = new TensorInfo("w", DType.F32, new TensorShape(4));
        tensors.Add(info);
        Assert.That(() => tensors.Add(info), Throws.ArgumentException.With.Message.StartsWith("Tensor 'w' has already been added."));
        Assert.That(
            () => tensors.Add(info with { Name = "v" }, 6),
            Throws.ArgumentException.With.Message.StartsWith("Tensor 'v' of F32 [4]: the address 6 is not a multiple of 4."));
        Assert.That(() => tensors.Read(info, 12, new byte[8]), Throws.InstanceOf<ArgumentOutOfRangeException>());
        Assert.That(() => tensors.AddressOf(info with { Name = "v" }), Throws.ArgumentException);
    }

    private static void Aggregate(IReadOnlyList<TensorSource> models, string strategy, IComputeBackend backend, TensorSink sink)
    {
        string[] words = strategy.Split(' ');
        KeyValuePair<string, string>[] options =
            [.. words.Skip(1).Select(word => word.Split('=')).Select(pair => new KeyValuePair<string, string>(pair[0], pair[1]))];
        ConfiguredRound configured = StrategyRegistry.Default.Create(
            words[0], options, new RoundOptions { Backend = backend, Threads = 2 });
        var round = new AggregationRound(models[0]) { Options = configured.Options };
        for (int k = 1; k < models.Count; k++)
            round.Add(ClientUpdate.FromTensors($"c{k}", models[k], examples: 10 * k));
        configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
    }

    private static MemoryModel[] Models(DType dtype, int clients = 3)
    {
        // the clients mostly agree: if their updates were orthogonal, rounding errors would decide the weights that
        // relu gives
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

    private DeviceTensors[] CopyToDevice(MemoryModel[] models) => [.. models.Select(model => DeviceTensors.CopyOf(model, _backend))];

    private static double Ulp(double value, int digits) => value == 0 ? double.Epsilon : Math.ScaleB(1, Math.ILogB(value) - digits + 1);

    /// <summary>The data types that verbs compute with.</summary>
    public enum ComputedType
    {
        F64,
        F32,
        F16,
        BF16,
    }
}
