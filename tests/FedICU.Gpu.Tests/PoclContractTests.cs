using FedICU.Compute;
using FedICU.Tests.Compute;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Tests;

/// <summary>The contract on PoCL's OpenCL device, in chunks so small that verbs take many.</summary>
internal sealed class PoclContractTests() : BackendContractTests(() => Pocl.CreateBackend(chunkBytes: 64 << 10));

/// <summary>The verification that users run, on PoCL's OpenCL device, and long tensors.</summary>
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
    public void LongSumsAreRight() => Assert.That(LongSums.AreRight(_backend), Is.True);

    [Test]
    public void LongSumsHaveTheProcessorsBits([Values(DType.F32, DType.F16, DType.BF16)] DType dtype) => LongTensors.HaveTheProcessorsBits(_backend, dtype, 10_000_000);

    [Test]
    public void ThreadsDoNotTakeEachOthersArguments() => LongTensors.ThreadsAgree(_backend);

    [Test]
    public void WholeRoundsAgreeWithTheProcessors([Values("fedavg", "fedicu", "fedprox")] string strategy) => LongTensors.RoundsAgree(_backend, strategy);
}
