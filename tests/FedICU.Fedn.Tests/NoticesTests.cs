using FedICU.Tests;

namespace FedICU.Fedn.Tests;

/// <summary>Tests that the notices name the libraries that the service ships.</summary>
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
