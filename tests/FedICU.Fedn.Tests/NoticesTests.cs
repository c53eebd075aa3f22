using FedICU.Tests;

namespace FedICU.Fedn.Tests;

/// <summary>The licenses of the libraries that the service ships.</summary>
internal sealed class NoticesTests
{
    [Test]
    public void EveryLibraryOfTheServiceIsNamed()
    {
        string[] packages = ThirdPartyNotices.PackagesOf("FedICU.Fedn");
        Assert.That(packages, Does.Contain("Grpc.AspNetCore.Server").And.Contain("Google.Protobuf").And.Contain("System.IO.Hashing"));
        Assert.That(packages.Except(ThirdPartyNotices.Lines()), Is.Empty);
    }
}
