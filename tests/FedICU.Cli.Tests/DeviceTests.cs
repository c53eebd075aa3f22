namespace FedICU.Cli.Tests;

/// <summary>Tests the commands devices and bench on machines without a GPU.</summary>
internal sealed class DeviceTests
{
    [Test]
    public void DevicesListsTheCpu() =>
        Assert.That(Tool.Run("devices").Succeeded().Output, Does.Contain("simd").And.Contain("always available"));

    [Test]
    public void BenchShowsEachMeasurement()
    {
        string output = Tool.Run("bench", "--quick", "--backend", "simd").Succeeded().Output;
        foreach (string what in (string[])["copying", "fedavg", "fedicu", "mask"])
            Assert.That(output, Does.Contain(what));
    }
}
