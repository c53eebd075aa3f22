using FedICU.Errors;
using FedICU.Files;

namespace FedICU.Tests.Files;

/// <summary>
/// Files that are opened again for each read, because a round has too many: they give the same bytes, and a replaced
/// file is detected.
/// </summary>
internal sealed class ReopenedFileTests
{
    private const int Values = 100_000;

    private TempFolder _folder = null!;

    [SetUp]
    public void SetUp()
    {
        _folder = new TempFolder();
        Save(_folder["m.safetensors"]);
    }

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void TheSameBytesAreRead([Values(1, 3000)] int others)
    {
        // With many other files, the block that a file reads at once is smaller than the reads.
        var round = new RoundFiles(0);
        for (int i = 1; i < others; i++)
            round.TryKeepOpen();
        using SafetensorsFile kept = SafetensorsFile.Open(_folder["m.safetensors"]),
            reopened = SafetensorsFile.Open(_folder["m.safetensors"], FileAccessMode.Read, round);
        foreach ((int offset, int length) in ((int, int)[])[(0, 4 * Values), (0, 100), (100, 400), (80_000, 20_000), (4 * Values - 70, 70),
            (90_000, 60_000), (0, 90_000)])
        {
            byte[] expected = new byte[length], read = new byte[length];
            kept.Read(kept.Tensors[0], offset, expected);
            reopened.Read(reopened.Tensors[0], offset, read);
            Assert.That(read, Is.EqualTo(expected));
        }
    }

    [Test]
    public void AReplacedFileIsDetected()
    {
        string path = _folder["m.safetensors"];
        using SafetensorsFile reopened = SafetensorsFile.Open(path, FileAccessMode.Read, new RoundFiles(0));
        File.SetLastWriteTimeUtc(path, new DateTime(2026, 1, 1, 0, 0, 0, DateTimeKind.Utc));
        Assert.That(() => reopened.Read(reopened.Tensors[0], 0, new byte[100]), Throws.TypeOf<ChangedModelException>()
            .With.Message.Matches(
                $"^'{path}' was changed or replaced while it was read: it had \\d+ bytes, written at .*, and now has \\d+, " +
                "written at 2026-01-01T00:00:00.0000000Z.$"));
    }

    [Test]
    public void OnlyTheAllowedNumberOfFilesStaysOpen()
    {
        var round = new RoundFiles(1);
        string path = _folder["m.safetensors"];
        SafetensorsFile first = SafetensorsFile.Open(path, FileAccessMode.Read, round),
            second = SafetensorsFile.Open(path, FileAccessMode.Read, round);
        File.Delete(path);
        first.Read(first.Tensors[0], 0, new byte[100]);
        Assert.That(() => second.Read(second.Tensors[0], 0, new byte[100]),
            Throws.TypeOf<ChangedModelException>().With.Message.EqualTo(
                $"'{path}' was removed or replaced while it was read: '{path}' does not exist."));
        second.Dispose();
        Assert.That(round.TryKeepOpen(), Is.False);
        first.Dispose();
        Assert.That(round.TryKeepOpen(), Is.True);
    }

    private static void Save(string path) =>
        new MemoryModel { { "w", [Values], Enumerable.Range(0, Values).Select(i => (float)i).ToArray() } }.SaveTo(TensorSink.ToFile(path));
}
