using FedICU.Compute;
using FedICU.Gpu.Verification;

namespace FedICU.Gpu.Tests;

/// <summary>
/// Long tensors, concurrent threads and whole rounds on PoCL's OpenCL device, and the verification that users run.
/// </summary>
internal sealed class PoclTests
{
    private GpuBackend _backend = null!;

    [OneTimeSetUp]
    public void Create() => _backend = Pocl.CreateBackend(chunkBytes: 8 << 20);

    [OneTimeTearDown]
    public void Free() => _backend?.Dispose();

    [Test]
    public void TheVerificationPasses()
    {
        VerificationResult result = BackendVerification.Run(_backend);
        Assert.That(result.Rows.Where(row => !row.Passed), Is.Empty);
    }

    [Test]
    public void TheLongSumCheckPasses() => Assert.That(LongSumCheck.Passes(_backend), Is.True);

    [Test]
    public void LongSumsHaveTheBitsOfTheCpu([Values(DType.F32, DType.F16, DType.BF16)] DType dtype) =>
        CpuComparison.WeightedSumHasTheSameBits(_backend, dtype, 10_000_000);

    [Test]
    public void ConcurrentThreadsDoNotMixTheirArguments() => CpuComparison.ConcurrentWeightedSumsHaveTheSameBits(_backend);

    [Test]
    public void WholeRoundsAgreeWithTheCpu([Values("fedavg", "fedicu", "fedprox")] string strategy) =>
        CpuComparison.RoundsAgree(_backend, strategy);
}
