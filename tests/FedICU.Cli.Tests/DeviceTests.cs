namespace FedICU.Cli.Tests;

/// <summary>Backends of devices on machines that have none: what is there is said, and what is missing too.</summary>
internal sealed class DeviceTests
{
    [Test]
    public void DevicesListsTheProcessor() => Assert.That(Tool.Run("devices").Succeeded().Output, Does.Contain("simd").And.Contain("always there"));

    [Test]
    public void BenchShowsEachRule()
    {
        string output = Tool.Run("bench", "--quick", "--backend", "simd").Succeeded().Output;
        foreach (string what in (string[])["copying", "fedavg", "fedicu", "mask"])
            Assert.That(output, Does.Contain(what));
    }
}
