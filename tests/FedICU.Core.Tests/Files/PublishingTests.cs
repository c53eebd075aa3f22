using System.Text;
using FedICU.Files;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>How new models replace old ones (docs/adr/0015): locks, generations, and which files are removed.</summary>
public sealed class PublishingTests
{
    private static readonly ArrayModel Model =
        new([Tensor("a", DType.F32, 4), Tensor("b", DType.U8, 3)], new Dictionary<string, string> { ["k"] = "v" });

    private static readonly PeftAdapterConfig Config = PeftAdapterConfig.Parse("""{"r": 4}"""u8, "memory");
    private static readonly OutputOptions Replace = new() { Replace = true };

    private TempFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new TempFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    [Test]
    public void ASecondWriterIsRejectedUntilTheFirstHasEnded([Values("m.safetensors", "new", "there", "adapter")] string name)
    {
        if (name == "there")
            Directory.CreateDirectory(_folder[name]);
        TensorSink first = Sink(), second = Sink();
        first.Begin(Model.Tensors, Model.Metadata);
        var refusal = Assert.Throws<FedIcuException>(() => second.Begin(Model.Tensors, Model.Metadata))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{_folder[name]}' is being written by another run; wait until it has ended."));
        first.Abort();
        Write(Model, second);
        Write(Model, first);
        using (TensorSource written = TensorSource.Open(_folder[name]))
            AssertSame(written, Model);
        Assert.That(_folder.Names(), Is.EqualTo((string[])[name]), "the locks' files are gone");

        TensorSink Sink() => name == "adapter" ? TensorSink.ToAdapterFolder(_folder[name], Config) : TensorSink.To(_folder[name], Model);
    }

    [Test]
    public void WritersExcludeEachOtherInAFolderThatIsMountedTwice()
    {
        Directory.CreateDirectory(_folder["out"]);
        TensorSink first = TensorSink.To(_folder["out"], Model);
        first.Begin(Model.Tensors, Model.Metadata);
        File.Delete(_folder[".out.fedicu-lock"]); // another mount has another parent
        Assert.Throws<FedIcuException>(() => TensorSink.To(_folder["out"], Model).Begin(Model.Tensors, Model.Metadata));
        first.Abort();
    }

    [Test]
    public void AFileBesideAnIndexOfItsStemIsRejectedOrReplacesTheShards()
    {
        string index = _folder.Put("model.safetensors.index.json",
            """{"weight_map":{"a":"model-1.safetensors","b":"model-1.safetensors"}}"""u8);
        Write(Model, TensorSink.ToFile(_folder["model-1.safetensors"]));
        string file = _folder["model.safetensors"];
        Assert.That(() => Write(Model, TensorSink.ToFile(file)), Throws.TypeOf<FedIcuException>().With.Message.StartsWith(
            $"'{file}' would be beside 'model.safetensors.index.json'"));
        Assert.That(File.Exists(file), Is.False);
        Write(Model, TensorSink.ToFile(_folder["other.safetensors"]));
        Assert.That(File.Exists(index));
        Write(Model, TensorSink.ToFile(file, Replace));
        Assert.That(_folder.Names(), Is.EqualTo((string[])["model.safetensors", "other.safetensors"]));
    }

    [Test]
    public void ALeftoverLockFileBlocksNobody()
    {
        _folder.Put(".m.safetensors.fedicu-lock", []);
        Write(Model, TensorSink.ToFile(_folder["m.safetensors"]));
        Assert.That(_folder.Names(), Is.EqualTo((string[])["m.safetensors"]));
    }

    [Test]
    public void OnlyTheLeftoversOfAKilledRunAreRemoved()
    {
        PutShards("out", "model.safetensors.index.json");
        const string Left = "0123456789ab", Old = "ba9876543210";
        Put($"out/model-{Left}-00001-of-00001.safetensors", (MetadataKeys.Generation, Left));
        Put($"out/mine-{Left}-00001-of-00001.safetensors", (MetadataKeys.Generation, Old));
        Put($"out/copy-{Left}-00001-of-00001.safetensors");
        Put($"out/kept-{Old}-00001-of-00001.safetensors", (MetadataKeys.Generation, Old));
        File.WriteAllText(_folder["out/old.index.json"], "{}");
        Directory.CreateDirectory(_folder[$"out/.fedicu.{Left}.tmp"]);
        File.WriteAllText(_folder[$"out/.fedicu.{Left}.tmp/replaced"], "kept.safetensors\n");
        File.WriteAllText(_folder["out/kept.safetensors"], "not replaced: the index is of another generation");
        Directory.CreateDirectory(_folder[".out.0123456789abcdef.tmp/sub"]);
        _folder.Put(".another.0123456789abcdef.tmp", []);
        _folder.Put(".out.0123456789abcdeg.tmp", []);
        string[] mine =
            [$"mine-{Left}-00001-of-00001.safetensors", $"copy-{Left}-00001-of-00001.safetensors", "old.index.json", "kept.safetensors"];

        using (var model = (ShardedModel)TensorSource.Open(_folder["out"]))
            model.SaveTo(TensorSink.To(_folder["out"], model));
        using var written = (ShardedModel)TensorSource.Open(_folder["out"]);
        Assert.That(
            Directory.GetFileSystemEntries(_folder["out"]).Select(Path.GetFileName),
            Is.EquivalentTo(mine.Concat(written.ShardNames).Append("model.safetensors.index.json")));
        Assert.That(_folder.Names(), Is.EqualTo((string[])[".another.0123456789abcdef.tmp", ".out.0123456789abcdeg.tmp", "out"]));
    }

    [Test]
    public void TheShardsThatAKilledRunWasAboutToRemoveAreRemoved()
    {
        PutShards("out", "model.safetensors.index.json");
        using (TensorSource model = TensorSource.Open(_folder["out"]))
            model.SaveTo(TensorSink.To(_folder["out"], model));
        string generation;
        using (var model = (ShardedModel)TensorSource.Open(_folder["out"]))
            generation = model.Generation!;
        Put("out/one.safetensors");
        Directory.CreateDirectory(_folder[$"out/.fedicu.{generation}.tmp"]);
        File.WriteAllText(_folder[$"out/.fedicu.{generation}.tmp/replaced"], "one.safetensors\n../../etc/x.safetensors\n");
        using (TensorSource model = TensorSource.Open(_folder["out"]))
            model.SaveTo(TensorSink.To(_folder["out"], model));
        Assert.That(File.Exists(_folder["out/one.safetensors"]), Is.False);
        Assert.That(Directory.GetFileSystemEntries(_folder["out"]), Has.Length.EqualTo(3));
    }

    [Test]
    public void StemsMetadataAndDigestStayTheSameOverRounds()
    {
        PutShards("out", "diffusion_pytorch_model.safetensors.index.json");
        string digest = DigestOf("out");
        for (int round = 0; round < 3; round++)
        {
            using (TensorSource model = TensorSource.Open(_folder["out"]))
                model.SaveTo(TensorSink.To(_folder["out"], model));
            using var written = (ShardedModel)TensorSource.Open(_folder["out"]);
            Assert.That(written.ShardNames[0], Is.EqualTo($"one-{written.Generation}-00001-of-00002.safetensors"));
            Assert.That(written.ShardNames[1], Is.EqualTo($"two-{written.Generation}-00002-of-00002.safetensors"));
            Assert.That(Path.GetFileName(written.Location), Is.EqualTo("diffusion_pytorch_model.safetensors.index.json"));
            Assert.That(written.Metadata, Is.EquivalentTo(Model.Metadata), "the generation is the files', not the model's");
            Assert.That(DigestOf("out"), Is.EqualTo(digest));
            Assert.That(Directory.GetFileSystemEntries(_folder["out"]), Has.Length.EqualTo(3));
        }

        // The generation does not survive a copy into a single file or an adapter.
        using (TensorSource model = TensorSource.Open(_folder["out"]))
            model.SaveTo(TensorSink.ToAdapterFolder(_folder["adapter"], Config));
        using (TensorSource adapter = TensorSource.Open(_folder["adapter"]))
            adapter.SaveTo(TensorSink.ToFile(_folder["m.safetensors"]));
        Assert.That(Encoding.UTF8.GetString(File.ReadAllBytes(_folder["m.safetensors"])), Does.Not.Contain("fedicu."));
        Assert.That((DigestOf("adapter"), DigestOf("m.safetensors")), Is.EqualTo((digest, digest)));
    }

    [Test]
    public void AShardOfAnotherGenerationIsRejected([Values(null, "ffffffffffff")] string? other)
    {
        PutShards("out", "model.safetensors.index.json");
        using (TensorSource model = TensorSource.Open(_folder["out"]))
            model.SaveTo(TensorSink.To(_folder["out"], model));
        using var written = (ShardedModel)TensorSource.Open(_folder["out"]);
        string shard = Path.Combine(_folder["out"], written.ShardNames[0]), index = written.Location;
        byte[] bytes = File.ReadAllBytes(shard);
        // The same length, so that the header's length stays right.
        string text = Encoding.Latin1.GetString(bytes), stamp = $"\"fedicu.generation\":\"{written.Generation}\"";
        string changed = other is null ? stamp.Replace("fedicu", "fedics") : $"\"fedicu.generation\":\"{other}\"";
        File.WriteAllBytes(shard, Encoding.Latin1.GetBytes(text.Replace(stamp, changed)));
        var refusal = Assert.Throws<InvalidModelException>(() => TensorSource.Open(_folder["out"]))!;
        Assert.That(refusal.Message, Is.EqualTo(
            $"'{shard}' {(other is null ? "states no generation" : $"states generation '{other}'")}, " +
            $"expected '{written.Generation}', the generation of the index '{index}'."));
    }

    [Test]
    public void TwoIndexesAreRejected()
    {
        PutShards("out", "model.safetensors.index.json");
        File.Copy(_folder["out/model.safetensors.index.json"], _folder["out/b.safetensors.index.json"]);
        File.Copy(_folder["out/model.safetensors.index.json"], _folder["out/._b.safetensors.index.json"]);
        var refusal = Assert.Throws<InvalidModelException>(() => TensorSource.Open(_folder["out"]))!;
        Assert.That(refusal.Message, Is.EqualTo(
            $"The folder '{_folder["out"]}' holds two indexes, 'b.safetensors.index.json' and 'model.safetensors.index.json': " +
            "give the path of the one to open."));
        using (TensorSource named = TensorSource.Open(_folder["out/b.safetensors.index.json"]))
            Assert.That(named.Tensors, Has.Count.EqualTo(2));
        File.Delete(_folder["out/b.safetensors.index.json"]);
        TensorSource.Open(_folder["out"]).Dispose();
    }

    [TestCase("model.safetensors.index.json", "model.safetensors")]
    [TestCase("diffusion_pytorch_model.safetensors.index.json", "diffusion_pytorch_model.safetensors")]
    [TestCase("model.safetensors.index.json", "adapter_config.json")]
    [TestCase("model.safetensors.index.json", "b.safetensors.index.json")]
    [TestCase("", "model.safetensors.index.json")]
    [TestCase("", "b.safetensors.index.json")]
    [TestCase("", "adapter_config.json")]
    public void AFileThatWouldHideTheModelIsRejectedOrRemoved(string index, string shadow)
    {
        PutShards("global", index.Length > 0 ? index : "model.safetensors.index.json");
        if (shadow.EndsWith("index.json", StringComparison.Ordinal))
            PutShards("out", shadow);
        else
            Directory.CreateDirectory(_folder["out"]);
        if (shadow == "adapter_config.json")
            Write(Model, TensorSink.ToAdapterFolder(_folder["out"], Config));
        else if (!shadow.EndsWith("index.json", StringComparison.Ordinal))
            Put("out/" + shadow);
        File.WriteAllText(_folder["out/README.md"], "mine");
        File.WriteAllText(_folder["out/foreign.safetensors"], "mine");
        string[] before = [.. Directory.GetFileSystemEntries(_folder["out"]).Order(StringComparer.Ordinal)];

        using TensorSource global = index.Length > 0 ? TensorSource.Open(_folder["global"]) : Model;
        var refusal = Assert.Throws<FedIcuException>(() => Write(global, TensorSink.To(_folder["out"], global)))!;
        Assert.That(refusal.Message, Is.EqualTo(
            $"The folder '{_folder["out"]}' holds {shadow}, which readers would open instead of the new model: " +
            "remove it, choose another folder, or replace it (--replace, OutputOptions.Replace)."));
        Assert.That(Directory.GetFileSystemEntries(_folder["out"]).Order(StringComparer.Ordinal), Is.EqualTo(before));

        Write(global, TensorSink.To(_folder["out"], global, Replace));
        using TensorSource written = TensorSource.Open(_folder["out"]);
        AssertSame(written, global);
        string[] files = written is ShardedModel sharded ? [.. sharded.ShardNames, index] : ["model.safetensors"];
        Assert.That(
            Directory.GetFileSystemEntries(_folder["out"]).Select(Path.GetFileName),
            Is.EquivalentTo(files.Concat(["README.md", "foreign.safetensors"])));
    }

    [Test]
    [Platform("Linux", Reason = "two folders change places in one step there")]
    public void AnAdapterWithAnotherConfigurationKeepsTheOtherFiles()
    {
        Write(Model, TensorSink.ToAdapterFolder(_folder["out"], Config));
        Directory.CreateDirectory(_folder["out/sub/deep"]);
        File.WriteAllText(_folder["out/sub/deep/tokenizer.json"], "mine");
        File.WriteAllText(_folder["out/README.md"], "mine");
        File.CreateSymbolicLink(_folder["out/link"], "README.md");
        const UnixFileMode Own = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(_folder["out"], Own);
        Write(Model, TensorSink.ToAdapterFolder(_folder["out"], PeftAdapterConfig.Parse("""{"r": 8}"""u8, "memory")));
        using var written = (PeftAdapter)TensorSource.Open(_folder["out"]);
        Assert.That(written.Config.Rank, Is.EqualTo(8));
        AssertSame(written, Model);
        foreach (string mine in (string[])["out/sub/deep/tokenizer.json", "out/README.md"])
            Assert.That(File.ReadAllText(_folder[mine]), Is.EqualTo("mine"));
        Assert.That(new FileInfo(_folder["out/link"]).LinkTarget, Is.EqualTo("README.md"));
        Assert.That(Directory.GetFileSystemEntries(_folder["out"]), Has.Length.EqualTo(5));
        if (!OperatingSystem.IsWindows())
            Assert.That(File.GetUnixFileMode(_folder["out"]), Is.EqualTo(Own));
        Assert.That(_folder.Names(), Is.EqualTo((string[])["out"]));
    }

    [Test]
    public void AnUnchangedConfigurationIsNotRewritten()
    {
        Write(Model, TensorSink.ToAdapterFolder(_folder["out"], Config));
        var old = new DateTime(2020, 1, 2, 3, 4, 5, DateTimeKind.Utc);
        File.SetLastWriteTimeUtc(_folder["out/adapter_config.json"], old);
        Write(Model, TensorSink.ToAdapterFolder(_folder["out"], Config));
        Assert.That(File.GetLastWriteTimeUtc(_folder["out/adapter_config.json"]), Is.EqualTo(old));
    }

    [Test]
    public void WeightsOfAnotherConfigurationAreRejected()
    {
        Write(Model, TensorSink.ToAdapterFolder(_folder["out"], Config));
        File.WriteAllText(_folder["out/adapter_config.json"], """{"r": 5}""");
        var refusal = Assert.Throws<InvalidModelException>(() => TensorSource.Open(_folder["out"]))!;
        Assert.That(refusal.Message, Is.EqualTo(
            $"'{_folder["out/adapter_model.safetensors"]}' belongs to a different configuration: its metadata " +
            $"'fedicu.config' is '{PeftAdapter.ChecksumOf("""{"r": 4}"""u8)}', " +
            $"but the checksum of '{_folder["out/adapter_config.json"]}' is '{PeftAdapter.ChecksumOf("""{"r": 5}"""u8)}'."));
        Assert.That(PeftAdapter.ChecksumOf("{}"u8), Is.EqualTo("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"));
    }

    [Test]
    public void AFailedRenameLeavesTheOldModel()
    {
        PutShards("out", "model.safetensors.index.json");
        string digest = DigestOf("out");
        using (TensorSource model = TensorSource.Open(_folder["out"]))
        {
            TensorSink sink = TensorSink.To(_folder["out"], model);
            sink.Begin(model.Tensors, model.Metadata);
            foreach (TensorInfo tensor in model.Tensors)
                sink.Write(tensor, 0, Data(model, tensor));
            // The staged index is missing when it is to be renamed.
            string stage = Directory.GetDirectories(_folder["out"], ".fedicu.*").Single();
            File.Delete(Path.Combine(stage, "model.safetensors.index.json"));
            Assert.Throws<FedIcuException>(sink.Commit);
            sink.Abort();
        }

        Assert.That(DigestOf("out"), Is.EqualTo(digest));
        Assert.That(Directory.GetFileSystemEntries(_folder["out"]), Has.Length.EqualTo(3));
    }

    private string DigestOf(string name)
    {
        using TensorSource model = TensorSource.Open(_folder[name]);
        return ModelDigest.Compute(model);
    }

    private void Put(string name, params (string Key, string Value)[] metadata)
    {
        string entries = string.Join(",", metadata.Append(("k", "v")).Select(entry => $"\"{entry.Item1}\":\"{entry.Item2}\""));
        string header = $$$"""{"__metadata__":{{{{entries}}}},"z":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}""";
        File.WriteAllBytes(_folder[name], FileOf(header, 1));
    }

    /// <summary>Writes a model with two tensors in two shards.</summary>
    private void PutShards(string folder, string index)
    {
        Directory.CreateDirectory(_folder[folder]);
        foreach (string name in (string[])["one", "two"])
            Write(new ArrayModel([Tensor(name, DType.F32, 5)], Model.Metadata), TensorSink.ToFile(_folder[$"{folder}/{name}.safetensors"]));
        File.WriteAllText(
            _folder[$"{folder}/{index}"],
            """{"metadata":{"total_size":40},"weight_map":{"one":"one.safetensors","two":"two.safetensors"}}""");
    }
}
