using System.Diagnostics;
using FedICU.Cli.Comparing;

namespace FedICU.Cli.Tests.Comparing;

/// <summary>Tests programs whose output cannot be kept.</summary>
[Platform("Linux", Reason = "/dev/full is a disk without room")]
public sealed class ChildProcessTests
{
    private const string FullDisk = "/dev/full";

    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [TestCase("echo 1", TestName = "AFullDiskIsReportedOfAShortOutput")]
    [TestCase("yes", TestName = "AFullDiskEndsAProgramThatPrintsOn")]
    [CancelAfter(60_000)]
    public void AFullDiskIsReported(string script, CancellationToken cancellationToken)
    {
        var start = new ProcessStartInfo("sh", ["-c", script]);
        Assert.That(
            () => ChildProcess.RunAsync(start, FullDisk, _place["errors"], null, cancellationToken),
            Throws.TypeOf<RefusedException>().With.Message.EqualTo($"'{FullDisk}' cannot be written: the disk is full."));
    }
}
