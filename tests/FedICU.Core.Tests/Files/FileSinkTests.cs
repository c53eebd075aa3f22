using System.Runtime.Versioning;
using System.Text;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

public sealed class FileSinkTests
{
    private static readonly ArrayModel Model = new(
        [Tensor("a", DType.F32, 4), Tensor("b", DType.U8, 3)], new Dictionary<string, string> { ["k"] = "v" });

    private static readonly PeftAdapterConfig Config = PeftAdapterConfig.Parse("""{"r": 4}"""u8, "memory");

    [Test]
    public void AFileIsReplacedOnlyByCommit()
    {
        using var folder = new TempFolder();
        string path = folder.Put("m.safetensors", "old"u8);
        TensorSink sink = TensorSink.ToFile(path);
        sink.Begin(Model.Tensors, Model.Metadata);
        sink.Write(Model.Tensors[0], 0, Model.DataOf("a"));
        sink.Write(Model.Tensors[1], 0, Model.DataOf("b"));
        Assert.That(File.ReadAllText(path), Is.EqualTo("old"));
        Assert.That(folder.Names(),
            Has.Length.EqualTo(3).And.One.Match(@"^\.m\.safetensors\.[0-9a-f]{16}\.tmp$").And.One.EqualTo(".m.safetensors.fedicu-lock"));
        sink.Commit();
        using var written = SafetensorsFile.Open(path);
        AssertSame(written, Model);
        Assert.That(folder.Names(), Has.Length.EqualTo(1));
    }

    [Test]
    public void AbortLeavesOnlyTheOldFile()
    {
        using var folder = new TempFolder();
        TensorSink sink = TensorSink.ToFile(folder.Put("m.safetensors", "old"u8));
        sink.Abort();
        sink.Begin(Model.Tensors, Model.Metadata);
        sink.Write(Model.Tensors[0], 0, Model.DataOf("a"));
        sink.Abort();
        sink.Abort();
        Assert.That(folder.Names(), Is.EqualTo((string[])["m.safetensors"]));
        Assert.That(File.ReadAllText(folder["m.safetensors"]), Is.EqualTo("old"));

        // The sink can be used again, also after a commit.
        Write(Model, sink);
        Write(Model, sink);
        sink.Abort();
        using var written = SafetensorsFile.Open(folder["m.safetensors"]);
        AssertSame(written, Model);
    }

    [Test]
    public void AModelWithMissingBytesIsNotCommitted()
    {
        using var folder = new TempFolder();
        TensorSink sink = TensorSink.ToFile(folder["m.safetensors"]);
        sink.Begin(Model.Tensors, Model.Metadata);
        sink.Write(Model.Tensors[0], 4, new byte[12]);
        sink.Write(Model.Tensors[1], 0, new byte[3]);
        Assert.That(Assert.Throws<InvalidOperationException>(sink.Commit)!.Message,
            Is.EqualTo($"'{folder["m.safetensors"]}': tensor 'a' was given 12 bytes, expected 16."));
        sink.Write(Model.Tensors[0], 0, new byte[8]);
        Assert.That(Assert.Throws<InvalidOperationException>(sink.Commit)!.Message, Does.EndWith("was given 20 bytes, expected 16."));
        sink.Abort();
        Assert.That(folder.Names(), Is.Empty);
    }

    [Test]
    public void MisuseIsRejected()
    {
        using var folder = new TempFolder();
        TensorSink sink = TensorSink.ToFile(folder["m.safetensors"]);
        Assert.Throws<InvalidOperationException>(sink.Commit);
        Assert.Throws<ArgumentException>(() => sink.Write(Model.Tensors[0], 0, new byte[1]));
        sink.Begin(Model.Tensors, Model.Metadata);
        Assert.Throws<InvalidOperationException>(() => sink.Begin(Model.Tensors, Model.Metadata));
        Assert.Throws<ArgumentException>(() => sink.Write(new TensorInfo("c", DType.U8, default), 0, new byte[1]));
        Assert.Throws<ArgumentOutOfRangeException>(() => sink.Write(Model.Tensors[1], 1, new byte[3]));
        Assert.Throws<ArgumentOutOfRangeException>(() => sink.Write(Model.Tensors[1], -1, new byte[1]));
        sink.Abort();
    }

    [Test]
    public void WhatTheFormatCannotHoldIsRejectedBeforeAnythingIsWritten()
    {
        using var folder = new TempFolder();
        string path = folder["m.safetensors"];
        TensorInfo good = Model.Tensors[0];
        AssertRefused([new TensorInfo("__metadata__", DType.U8, default)], "tensor '__metadata__': the name is reserved.");
        AssertRefused([good, good], "tensor 'a': the name is already used.");
        AssertRefused([new TensorInfo("x\ud800", DType.U8, default)], "tensor 'x\\ud800': it contains an unpaired surrogate.");
        AssertRefused([new TensorInfo("f", DType.F4, new TensorShape(3))], "tensor 'f': F4 [3] does not take a whole number of bytes.");
        AssertRefused([new TensorInfo("r", DType.U8, new TensorShape(new long[65]))], "tensor 'r': it has more than 64 dimensions.");
        AssertRefused([good, new TensorInfo("h", DType.U8, new TensorShape(long.MaxValue))],
            $"tensor 'h' of {long.MaxValue} bytes in addition to the others.");

        TensorSink sink = TensorSink.ToFile(path);
        var refusal = Assert.Throws<FedIcuException>(() => sink.Begin([good], new Dictionary<string, string> { ["k"] = "\udc00" }))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{path}' cannot hold the metadata 'k': it contains an unpaired surrogate."));
        Assert.That(folder.Names(), Is.Empty);

        void AssertRefused(TensorInfo[] tensors, string what)
        {
            TensorSink sink = TensorSink.ToFile(path);
            Assert.That(Assert.Throws<FedIcuException>(() => sink.Begin(tensors, NoMetadata))!.Message,
                Is.EqualTo($"'{path}' cannot hold {what}"));
        }
    }

    [Test]
    public void APlaceThatCannotBeWrittenGivesAMessage()
    {
        using var folder = new TempFolder();
        folder.Put("file", [1]);
        AssertRefused(TensorSink.ToFile(folder.FullName), $"'{folder.FullName}' is a folder, expected a file.");
        AssertRefused(TensorSink.ToFile(folder["no/m.safetensors"]),
            $"'{folder["no/m.safetensors"]}' cannot be written: the folder '{folder["no"]}' does not exist.");
        AssertRefused(TensorSink.ToAdapterFolder(folder["file"], Config), $"'{folder["file"]}' is a file, expected a folder.");
        AssertRefused(TensorSink.ToAdapterFolder(folder["file/sub"], Config), null);
        Assert.That(folder.Names(), Is.EqualTo((string[])["file"]));

        static void AssertRefused(TensorSink sink, string? sentence)
        {
            var refusal = Assert.Throws<FedIcuException>(() => sink.Begin(Model.Tensors, NoMetadata))!;
            if (sentence is not null)
                Assert.That(refusal.Message, Is.EqualTo(sentence));
        }
    }

    [Test]
    public void AFullDiskIsDetectedBeforeTheWork()
    {
        using var folder = new TempFolder();
        TensorSink sink = TensorSink.ToFile(folder["m.safetensors"]);
        var refusal = Assert.Throws<FedIcuException>(
            () => sink.Begin([new TensorInfo("h", DType.U8, new TensorShape(1L << 60))], NoMetadata))!;
        Assert.That(refusal.Message, Does.StartWith($"'{folder["m.safetensors"]}' cannot be written: "));
        Assert.That(folder.Names(), Is.Empty);
    }

    [Test]
    public void TheGlobalModelDecidesTheKindOfTheOutputFolder()
    {
        using var folder = new TempFolder();
        TensorSink plain = TensorSink.To(folder["out"], Model);
        plain.Begin(Model.Tensors, Model.Metadata);
        plain.Abort();
        Assert.That(Directory.Exists(folder["out"]), Is.False, "a folder made for an aborted model goes with it");
        Write(Model, plain);
        using (TensorSource written = TensorSource.Open(folder["out"]))
            AssertSame(written, Model);

        Write(Model, TensorSink.ToAdapterFolder(folder["adapter"], Config));
        using (TensorSource adapter = TensorSource.Open(folder["adapter"]))
        {
            Assert.That(((PeftAdapter)adapter).Config.Rank, Is.EqualTo(4));
            Write(adapter, TensorSink.To(folder["file.safetensors"], adapter));
        }

        Assert.That(folder.Names(), Is.EqualTo((string[])["adapter", "file.safetensors", "out"]));
        AssertSameFile(folder["file.safetensors"]);
    }

    [Test]
    public void AFolderThatWouldBeReadAsAnotherModelIsRejected()
    {
        using var folder = new TempFolder();
        Write(Model, TensorSink.ToAdapterFolder(folder["out"], Config));
        var refusal = Assert.Throws<FedIcuException>(() => TensorSink.To(folder["out"], Model).Begin(Model.Tensors, NoMetadata))!;
        Assert.That(refusal.Message, Is.EqualTo(
            $"The folder '{folder["out"]}' holds adapter_config.json, which readers would open instead of the new model: remove it, " +
            "choose another folder, or replace it (--replace, OutputOptions.Replace)."));
        Assert.That(Directory.GetFiles(folder["out"]), Has.Length.EqualTo(2));
    }

    [Test]
    public void AnAdapterIsReplacedTogetherWithItsConfiguration()
    {
        using var folder = new TempFolder();
        foreach (string json in (string[])["""{"r": 4}""", """{"r": 4}""", """{"r": 8}"""])
        {
            Write(Model, TensorSink.ToAdapterFolder(folder["out"], PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(json), "memory")));
            Assert.That(File.ReadAllText(Path.Combine(folder["out"], "adapter_config.json")), Is.EqualTo(json));
            Assert.That(Directory.GetFiles(folder["out"]), Has.Length.EqualTo(2));
        }
    }

    [Test]
    public void AnOldConfigurationThatCannotBeReadIsReplaced([Values("", "{\"r\": 9}", "huge", "locked")] string old)
    {
        using var folder = new TempFolder();
        Directory.CreateDirectory(folder["out"]);
        string config = Path.Combine(folder["out"], "adapter_config.json");
        using (FileStream file = new(config, FileMode.Create, FileAccess.ReadWrite, FileShare.None))
        {
            file.Write(old is "huge" or "locked" ? Config.RawJson.Span : Encoding.UTF8.GetBytes(old));
            // Sparse: the file takes no space on the disk.
            if (old == "huge")
                file.SetLength(3L << 30);
            if (old == "locked" && !OperatingSystem.IsWindows())
            {
                file.Flush();
                Write(Model, TensorSink.ToAdapterFolder(folder["out"], Config));
            }
        }

        Write(Model, TensorSink.ToAdapterFolder(folder["out"], Config));
        Assert.That(File.ReadAllBytes(config), Is.EqualTo(Config.RawJson.ToArray()));
    }

    [Test]
    public void AbortRemovesOnlyTheFoldersCreatedForTheModel()
    {
        using var folder = new TempFolder();
        Directory.CreateDirectory(folder["there"]);
        TensorSink sink = TensorSink.ToAdapterFolder(folder["there/new/deep/next/"], Config);
        sink.Begin(Model.Tensors, NoMetadata);
        Assert.That(Directory.Exists(folder["there/new/deep/next"]), Is.False, "a new folder appears whole");
        Assert.That(Directory.GetFileSystemEntries(folder["there/new/deep"]), Is.Not.Empty);
        sink.Abort();
        Assert.That(Directory.GetFileSystemEntries(folder["there"]), Is.Empty);

        sink.Begin(Model.Tensors, NoMetadata);
        File.WriteAllText(folder["there/new/another's"], "");
        sink.Abort();
        Assert.That(Directory.GetFileSystemEntries(folder["there/new"]).Select(Path.GetFileName), Is.EqualTo(new[] { "another's" }));

        // The folders of a committed model stay, whatever follows.
        Write(Model, sink);
        sink.Begin(Model.Tensors, NoMetadata);
        sink.Abort();
        Assert.That(Directory.GetFiles(folder["there/new/deep/next"]), Has.Length.EqualTo(2));
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "file modes")]
    [UnsupportedOSPlatform("windows")]
    public void APrivateFileStaysPrivate()
    {
        using var folder = new TempFolder();
        string path = folder.Put("m.safetensors", [1]);
        File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        Write(Model, TensorSink.ToFile(path));
        Assert.That(File.GetUnixFileMode(path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
    }

    [Test]
    public void AModelMayBeWrittenOverItselfWhileItIsRead([Values] FileAccessMode mode)
    {
        if (OperatingSystem.IsWindows() && mode == FileAccessMode.Mapped)
            Assert.Ignore("Windows keeps mapped files");
        using var folder = new TempFolder();
        string path = folder["m.safetensors"];
        Write(Model, TensorSink.ToFile(path));
        using (var model = SafetensorsFile.Open(path, mode))
        {
            Write(model, TensorSink.ToFile(path));
            AssertSame(model, Model);
        }

        AssertSameFile(path);
    }

    [Test]
    public void TheLongestFileNameCanBeWritten()
    {
        using var folder = new TempFolder();
        string path = folder[new string('n', 243) + ".safetensors"];
        Write(Model, TensorSink.ToFile(path));
        AssertSameFile(path);
    }

    private static void AssertSameFile(string path)
    {
        using var written = SafetensorsFile.Open(path);
        AssertSame(written, Model);
    }
}
