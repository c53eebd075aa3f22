using FedICU.Compute;
using FedICU.Gpu.Verification;
using ILGPU.Runtime;

namespace FedICU.Gpu.Tests;

/// <summary>
/// If a device is lost, has no memory left or cannot compile a kernel, a round gives the CPU's result and one warning,
/// and never a wrong model.
/// </summary>
internal sealed unsafe class GuardedBackendTests
{
    private static readonly Exception[] Failures =
    [
        new FakeFailure("the device was lost"), new InsufficientMemoryException("out of device memory"),
        new NotSupportedException("the kernel cannot be compiled"),
    ];

    [Test]
    public void TheCpuContinuesARoundWhoseDeviceFails([ValueSource(nameof(Failures))] Exception failure, [Values(0, 1, 2, 5)] int after)
    {
        var warnings = new List<string>();
        using var backend = Guard(new FakeBackend(failure, after), new GpuOptions { LeastBytes = 0, Warning = warnings.Add });
        CpuComparison.RoundsAgree(backend, "fedicu");
        Assert.That(warnings, Is.EqualTo(new[] { $"fake: a device failed: {failure.Message}. The CPU continues the work." }));
        Assert.That(backend.Name, Is.EqualTo("simd"));
    }

    [Test]
    public void WithoutFallbackAFailureEndsTheRoundWithOneSentence([ValueSource(nameof(Failures))] Exception failure)
    {
        using var backend = Guard(new FakeBackend(failure, 3), new GpuOptions { LeastBytes = 0, Fallback = false });
        var thrown = Assert.Catch<FedIcuException>(() => CpuComparison.RoundsAgree(backend, "fedicu"));
        Assert.That(thrown!.Message, Is.EqualTo($"fake: a device failed: {failure.Message}."));
    }

    [Test]
    public void TheCpuComputesSmallVerbs()
    {
        var options = new GpuOptions { LeastBytes = 1 << 20, Warning = Assert.Fail };
        using var backend = Guard(new FakeBackend(new FakeFailure("failed"), 0), options);
        float* values = stackalloc float[16];
        Assert.That(backend.CountNonFinite(new TensorPanel(values, DType.F32), 16), Is.Zero);
        Assert.That(backend.Name, Is.EqualTo("fake"));
    }

    [Test]
    public void TheCpuComputesVerbsThatOverwriteTheirInputs()
    {
        using var backend = Guard(new FakeBackend(new FakeFailure("failed"), 0), new GpuOptions { LeastBytes = 0, Warning = Assert.Fail });
        float* values = stackalloc float[16];
        values[0] = 4;
        var panel = new TensorPanel(values, DType.F32);
        backend.WeightedSum([panel, panel], [1, 1], 4, 16, panel);
        Assert.That(values[0], Is.EqualTo(2));
    }

    // with 8 clients the last panel is too small for the device; with 40 clients every panel is
    [TestCase(8, "cpu-accelerator 88.9 %, simd 11.1 %"), TestCase(40, "simd 100.0 %")]
    public void TheReportStatesTheShareOfTheDevice(int clients, string shares)
    {
        using var backend = Guard(CpuAcceleratorContractTests.CreateBackend(), new GpuOptions { Warning = Assert.Fail });
        RoundReport report = Round(backend, clients, 1 << 18);
        Assert.That(report.Backend, Is.EqualTo("cpu-accelerator"));
        IEnumerable<string> actual = report.BackendShares.Select(part => FormattableString.Invariant($"{part.Name} {part.Share:P1}"));
        Assert.That(string.Join(", ", actual), Is.EqualTo(shares));
    }

    [Test]
    public void ConcurrentRoundsOnOneDeviceCountTheirOwnBytes()
    {
        var options = new GpuOptions { LeastBytes = 1000, Warning = Assert.Fail };
        using var backend = Guard(new FakeBackend(new FakeFailure("failed"), int.MaxValue), options);
        // 4 values of 4 bytes go to the CPU, 1,000 to the device
        Parallel.For(0, 32, new ParallelOptions { MaxDegreeOfParallelism = 8 }, i =>
        {
            RoundReport report = Round(backend, 2 + i % 3, i % 2 == 0 ? 4 : 1000);
            Assert.That(report.BackendShares, Is.EqualTo(new[] { new BackendShare(i % 2 == 0 ? "simd" : "fake", 1) }));
        });
        BackendShare[] shares = [new("fake", 1000.0 / 1004), new("simd", 4.0 / 1004)];
        Assert.That(Round(backend, 2, 4, 1000).BackendShares, Is.EqualTo(shares));
    }

    [Test]
    public void TheReportCountsAFailedVerbForTheCpu()
    {
        using var backend = Guard(new FakeBackend(new FakeFailure("failed"), 1), new GpuOptions { LeastBytes = 0 });
        RoundReport report = Round(backend, 2, 300, 300, 400);
        Assert.That(report.BackendShares, Is.EqualTo(new BackendShare[] { new("simd", 0.7), new("fake", 0.3) }));
        Assert.That(report.ToString(), Does.Contain("backend simd (simd 70.0 %, fake 30.0 % of the bytes)"));
    }

    [Test]
    public void TheReportCountsARulesOwnLoopsForTheCpu()
    {
        using GpuBackend backend = CpuAcceleratorContractTests.CreateBackend();
        Assert.That(
            Round(backend, new StageAggregator(new Largest()), 3, 500).BackendShares, Is.EqualTo(new[] { new BackendShare("simd", 1) }));
        Assert.That(Round(backend, 3, 500).BackendShares, Is.EqualTo(new[] { new BackendShare("cpu-accelerator", 1) }));
        RoundReport onReference = Round(ReferenceBackend.Instance, new StageAggregator(new Largest()), 3, 500);
        Assert.That(onReference.BackendShares, Is.EqualTo(new[] { new BackendShare("reference", 1) }));
    }

    [Test]
    public void OrderStatisticsAndDistancesAreTheCpusWork([Values] bool guarded)
    {
        GpuBackend device = CpuAcceleratorContractTests.CreateBackend();
        using IDisposable owner = guarded ? Guard(device, new GpuOptions { LeastBytes = 0, Warning = Assert.Fail }) : device;
        var work = new RoundWork((IComputeBackend)owner);
        float* values = stackalloc float[3] { 4, 2, 9 };
        TensorPanel[] inputs = [new(values, DType.F32), new(values + 1, DType.F32), new(values + 2, DType.F32)];
        float median;
        double[] distances = new double[3];
        Assert.That(work.Backend.MiddleMean(inputs, 1, 1, new TensorPanel(&median, DType.F32)), Is.Zero);
        work.Backend.AddPairDistances(inputs, 1, distances);
        Assert.That(median, Is.EqualTo(4));
        Assert.That(distances, Is.EqualTo(new[] { 4.0, 25, 49 }));
        work.Backend.AddDistances(inputs, inputs[0], default, 1, distances, []);
        Assert.That(distances, Is.EqualTo(new[] { 4.0, 25 + 4, 49 + 25 }));
        Assert.That(work.Shares, Is.EqualTo(new[] { new BackendShare("simd", 1) }));
    }

    private sealed class Largest : MergeRule
    {
        public override string Name => "largest";

        public override void Merge(TensorContext tensor) => tensor.ForEachElement(UpdateForm.Parameters, values =>
        {
            double largest = values[0];
            foreach (double value in values)
                largest = Math.Max(largest, value);
            return largest;
        });
    }

    private static GuardedBackend Guard(IClientBackend device, GpuOptions options) => new(device, "fake: a device", options);

    private static RoundReport Round(IComputeBackend backend, int clients, params int[] lengths) =>
        Round(backend, new FedAvgAggregator(), clients, lengths);

    private static RoundReport Round(IComputeBackend backend, IAggregator aggregator, int clients, params int[] lengths)
    {
        var model = new MemoryModel();
        for (int i = 0; i < lengths.Length; i++)
            model.Add($"w{i}", [lengths[i]], Enumerable.Range(0, lengths[i]).Select(value => (float)value).ToArray());
        var round = new AggregationRound(model, new RoundOptions { Backend = backend, Threads = 1 });
        for (int k = 0; k < clients; k++)
            round.Add(ClientUpdate.FromTensors($"{k}", model));
        using var sink = new MemorySink();
        return aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report;
    }

    [TestCase(null), TestCase("auto"), TestCase("simd"), TestCase("reference"), TestCase("cuda"), TestCase("opencl")]
    public void EveryNameCreatesABackendOnEveryMachine(string? name)
    {
        var warnings = new List<string>();
        IComputeBackend backend = ComputeBackends.Create(name, new GpuOptions { Warning = warnings.Add });
        CpuComparison.RoundsAgree(backend, "fedavg");
        Assert.That(warnings, Is.All.EndsWith("The CPU does the work."));
        (backend as IDisposable)?.Dispose();
    }

    [TestCase("simd", 0, "simd"), TestCase("reference", 0, "reference"), TestCase("auto", 0, "simd")]
    [TestCase("auto", long.MaxValue, null), TestCase("cuda", 0, null), TestCase("opencl", 0, null)]
    public void WithoutADeviceThereIsABackendUnlessOneWouldBeSearchedFor(string name, long workBytes, string? expected) =>
        Assert.That(ComputeBackends.CreateForCpu(name, null, workBytes)?.Name, Is.EqualTo(expected));

    [Test]
    public void AnUnknownNameIsRefused([Values] bool forCpu)
    {
        var thrown = Assert.Throws<InvalidOptionsException>(
            () => _ = forCpu ? ComputeBackends.CreateForCpu("tpu") : ComputeBackends.Create("tpu"));
        Assert.That(thrown!.Message, Is.EqualTo("The backend 'tpu' is unknown; auto, cuda, opencl, simd, reference are known."));
    }

    [Test]
    public void TheSelfCheckRefusesADeviceWithWrongResults([Values] bool quick)
    {
        VerificationResult result = BackendVerification.Run(new FakeBackend(null, 0), quick);
        Assert.That(DeviceSelfCheck.RefusalOf(result), Is.EqualTo("its results are wrong (CountNonFinite of F64)."));
    }

    internal sealed class FakeFailure(string message) : AcceleratorException(message)
    {
        public override AcceleratorType AcceleratorType => AcceleratorType.Cuda;
    }

    /// <summary>
    /// Another backend under the name <c>fake</c>. It throws <paramref name="failure"/> after some verbs; without one
    /// it only returns wrong counts.
    /// </summary>
    /// <param name="failure">The exception; null for wrong counts.</param>
    /// <param name="after">The number of verbs that succeed.</param>
    /// <param name="other">The backend that computes; null for the CPU's.</param>
    internal sealed class FakeBackend(Exception? failure, int after, IClientBackend? other = null) : IClientBackend
    {
        private readonly IClientBackend _other = other ?? new SimdBackend();
        private int _calls;
        private long _read;

        public string Name => "fake";

        public object? Device => _other.Device;

        public int PairInputs => _other.PairInputs;

        /// <summary>Gets the number of elements that FedICU's verbs have read, of all inputs.</summary>
        public long ElementsRead => _read;

        public IDisposable? AllocateOnDevice(long bytes, out nint address) => _other.AllocateOnDevice(bytes, out address);

        public long WeightedSum(
            ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output) =>
            Next().WeightedSum(inputs, weights, divisor, length, output);

        public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums) =>
            Next(inputs.Length * geometry.Length).AddSquares(inputs, geometry, sums);

        public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams) =>
            Next().AddGram(inputs, geometry, grams);

        public void AddProjections(
            ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots) =>
            Next(inputs.Length * geometry.Length).AddProjections(inputs, geometry, a, b, dots);

        public long Combine(
            ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
            double* squares) =>
            Next(inputs.Length * geometry.Length).Combine(inputs, geometry, coefficients, scales, output, squares);

        public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output) =>
            Next().MiddleMean(inputs, trim, length, output);

        public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums) =>
            Next().AddPairDistances(inputs, length, sums);

        public void AddDistances(
            ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
            Span<double> products) => Next().AddDistances(inputs, origin, direction, length, squares, products);

        public long CountNonFinite(TensorPanel input, int length) => Next().CountNonFinite(input, length) + (failure is null ? 1 : 0);

        public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global) =>
            Next().AddMoments(inputs, length, ref update, ref global);

        public long SelectImportant(
            in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum) =>
            Next().SelectImportant(inputs, length, update, global, mask, momentum);

        public void Importance(
            in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
            double* globalImportance) =>
            Next().Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);

        public long Pack(TensorPanel source, int length, byte* mask, void* packed) => Next().Pack(source, length, mask, packed);

        public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient) =>
            Next().AddProximal(local, global, mu, length, gradient);

        private IClientBackend Next(long elements = 0)
        {
            Interlocked.Add(ref _read, elements);
            return failure is not null && Interlocked.Increment(ref _calls) > after ? throw failure : _other;
        }
    }
}
