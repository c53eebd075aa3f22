using System.Diagnostics;
using FedICU.Files;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>Outputs at links, pipes and other special places, and the descriptions of file system failures.</summary>
public sealed class FilePlaceTests
{
    private static readonly ArrayModel Model = new([Tensor("a", DType.F32, 4)], NoMetadata);

    [Test]
    [Platform(Exclude = "Win", Reason = "pipes of Unix")]
    public void APipeIsRejected()
    {
        using var folder = new TempFolder();
        string pipe = folder["m.safetensors"];
        using (Process make = Process.Start("mkfifo", [pipe]))
            make.WaitForExit();
        File.CreateSymbolicLink(folder["link.safetensors"], pipe);
        foreach (string path in (string[])[pipe, folder["link.safetensors"]])
        {
            var refusal = Assert.Throws<FedIcuException>(() => TensorSink.ToFile(path).Begin(Model.Tensors, NoMetadata))!;
            Assert.That(refusal.Message, Is.EqualTo($"'{path}' is not a regular file."));
        }

        Assert.That(folder.Names(), Is.EqualTo(new[] { "link.safetensors", "m.safetensors" }));
        Assert.That(FilePlace.IsSpecial("/dev/null"));
        Assert.That(FilePlace.IsSpecial(folder.Put("empty", [])), Is.False);
        Assert.That(FilePlace.IsSpecial(folder.Put("full", [1])), Is.False);
        Assert.That(FilePlace.IsSpecial(folder["nothing"]) || FilePlace.IsSpecial(folder.FullName), Is.False);
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "links need a privilege there")]
    public void ALinkIsReplacedOrFollowedAsRequested([Values] bool follow)
    {
        using TempFolder folder = new(), store = new();
        File.CreateSymbolicLink(folder["m.safetensors"], store.Put("old.safetensors", [1]));
        File.CreateSymbolicLink(folder["new.safetensors"], store["new.safetensors"]);
        File.CreateSymbolicLink(folder["loop.safetensors"], "loop.safetensors");
        Directory.CreateSymbolicLink(folder["out"], store["out"]);
        var options = new OutputOptions { FollowLinks = follow };
        Write(Model, TensorSink.ToFile(folder["m.safetensors"], options));
        Write(Model, TensorSink.ToFile(folder["new.safetensors"], options));
        Write(Model, TensorSink.To(folder["out"], Model, options));
        foreach (string name in (string[])["m.safetensors", "new.safetensors", "out/model.safetensors"])
        {
            using var written = SafetensorsFile.Open(folder[name]);
            AssertSame(written, Model);
        }

        Assert.That(File.ReadAllBytes(store["old.safetensors"]), follow ? Has.Length.GreaterThan(1) : Is.EqualTo(new byte[] { 1 }));
        Assert.That(new FileInfo(folder["m.safetensors"]).LinkTarget, follow ? Is.Not.Null : Is.Null);
        Assert.That(new DirectoryInfo(folder["out"]).LinkTarget, Is.EqualTo(store["out"]), "a link in the place of a folder stays");
        Assert.That(store.Names(),
            Is.EqualTo(follow ? (string[])["new.safetensors", "old.safetensors", "out"] : ["old.safetensors", "out"]));
        Assert.That(folder.Names(), Is.EqualTo((string[])["loop.safetensors", "m.safetensors", "new.safetensors", "out"]));
        var refusal = Assert.Throws<FedIcuException>(
            () => TensorSink.ToFile(folder["loop.safetensors"], options).Begin(Model.Tensors, NoMetadata))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{folder["loop.safetensors"]}' is not a regular file."));
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "links need a privilege there")]
    public void LinksInAnAdapterFolderAreReplacedOrFollowed([Values] bool follow)
    {
        using TempFolder folder = new(), store = new();
        var config = PeftAdapterConfig.Parse("""{"r": 4}"""u8, "memory");
        byte[] old = "old weights"u8.ToArray();
        File.CreateSymbolicLink(folder["adapter_config.json"], store.Put("config.json", "{}"u8));
        File.CreateSymbolicLink(folder["adapter_model.safetensors"], store.Put("weights", old));
        var options = new OutputOptions { FollowLinks = follow, Replace = follow };
        Write(Model, TensorSink.ToAdapterFolder(folder.FullName, config, options));
        using (TensorSource written = TensorSource.Open(folder.FullName))
            AssertSame(written, Model);
        Assert.That(File.ReadAllBytes(store["config.json"]), Is.EqualTo(follow ? config.RawJson.ToArray() : "{}"u8.ToArray()));
        Assert.That(File.ReadAllBytes(store["weights"]), follow ? Is.Not.EqualTo(old) : Is.EqualTo(old));
        Assert.That(new FileInfo(folder["adapter_config.json"]).LinkTarget, follow ? Is.EqualTo(store["config.json"]) : Is.Null);
        File.CreateSymbolicLink(folder["dangling.safetensors"], "no/such/folder/m.safetensors");
        if (follow)
            Assert.Throws<FedIcuException>(
                () => TensorSink.ToFile(folder["dangling.safetensors"], options).Begin(Model.Tensors, NoMetadata));
        else
            Write(Model, TensorSink.ToFile(folder["dangling.safetensors"], options));
        File.Delete(folder["dangling.safetensors"]);
        Assert.That((folder.Names().Length, store.Names().Length), Is.EqualTo((2, 2)), "neither temporaries nor locks");
    }

    [Test]
    public void AFileInPlaceOfAFolderIsNamed()
    {
        using var folder = new TempFolder();
        string file = folder.Put("file", [1]);
        Assert.That(
            Assert.Throws<FedIcuException>(
                () => TensorSink.ToFile(folder["file/deep/m.safetensors"]).Begin(Model.Tensors, NoMetadata))!.Message,
            Is.EqualTo($"'{folder["file/deep/m.safetensors"]}' cannot be written: '{file}' is a file, expected a folder."));
        Assert.That(
            Assert.Throws<FedIcuException>(() => TensorSink.To(folder["file/deep"], Model).Begin(Model.Tensors, NoMetadata))!.Message,
            Is.EqualTo($"The folder '{folder["file/deep"]}' cannot be created: '{file}' is a file, expected a folder."));
    }

    [Test]
    public void TheMessageAboutAFullDiskHasNoTemporaryName()
    {
        using var folder = new TempFolder();
        var huge = new TensorInfo("h", DType.U8, new TensorShape(1L << 60));
        var refusal = Assert.Throws<FedIcuException>(() => TensorSink.ToFile(folder["m.safetensors"]).Begin([huge], NoMetadata))!;
        Assert.That(refusal.Message, Does.Match(@"^'[^']*/m\.safetensors' cannot be written: the disk has no room for \d+ bytes\.$"));
    }

    [TestCase("{\"r\": NaN}", "the fault is at byte 7 of line 1.")]
    [TestCase("{\"r\":\n 1,,", "the fault is at byte 4 of line 2.")]
    [TestCase("{\"r\": 1, \"r\": 2}", "an object holds a name twice.")]
    public void AMalformedConfigurationGivesThePositionOfTheFault(string json, string where) => Assert.That(
        Assert.Throws<InvalidModelException>(() => PeftAdapterConfig.Parse(System.Text.Encoding.UTF8.GetBytes(json), "c"))!.Message,
            Is.EqualTo("'c' is not valid JSON: " + where));

    private static IEnumerable<TestCaseData> Failures()
    {
        yield return new(new UnauthorizedAccessException("Access to the path '/x/.m.tmp' is denied."), "permission denied");
        yield return new(new IOException("No space left on device : '/x/.m.tmp'", 28), "the disk is full");
        yield return new(new IOException("There is not enough space on the disk. : 'x'", unchecked((int)0x80070070)), "the disk is full");
        yield return new(new IOException("Read-only file system : '/x/.m.tmp'", 30), "the file system is read-only");
        yield return new(new IOException("Broken pipe", 32), "the reader closed the pipe");
        yield return new(new DirectoryNotFoundException("Could not find a part of the path '/x'."), "there is no such file or folder");
        yield return new(new PathTooLongException(), "the name is too long");
        yield return new(new ArgumentOutOfRangeException("value", "Specified file length was too large"),
            "the file is too large for the process or the file system (ulimit -f)");
        yield return new(new IOException("File too large : '/x/.m.tmp'", 27),
            "the file is too large for the process or the file system (ulimit -f)");
        yield return new(new IOException("Too many open files : '/x/.m.tmp'", 24), "too many files are open (ulimit -n)");
        yield return new(new IOException("Text file busy : '/x/.m.tmp'", 26), "text file busy");
        yield return new(new IOException("The process cannot access the file '/x' because it is being used by another process.", 11),
            "the process cannot access the file because it is being used by another process");
    }

    [TestCaseSource(nameof(Failures))]
    public void FailuresAreDescribedWithoutPaths(Exception failure, string words) =>
        Assert.That(FileFailure.Describe(failure), Is.EqualTo(words));
}
