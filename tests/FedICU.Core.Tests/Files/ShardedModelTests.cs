using System.Text;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

public sealed class ShardedModelTests
{
    private const string One = "model-00001-of-00002.safetensors";
    private const string Two = "model-00002-of-00002.safetensors";
    private const string Index = "model.safetensors.index.json";

    private static readonly ArrayModel First = new([Tensor("embed", DType.F32, 10, 3), Tensor("norm", DType.BF16, 3)],
        Meta(("format", "pt"), ("part", "1")));
    private static readonly ArrayModel Second = new([Tensor("head", DType.F16, 3, 10)], Meta(("format", "pt"), ("part", "2")));

    private static readonly string GoodIndex =
        """{"metadata": {"total_size": 186, "by": "a\u00e4"}, "weight_map": """ +
        $$$"""{"head": "{{{Two}}}", "embed": "{{{One}}}", "norm": "{{{One}}}"}}""";

    [Test]
    public void ShardsFormOneModel([Values] FileAccessMode mode)
    {
        using var folder = Folder(GoodIndex);
        using var model = ShardedModel.Open(folder[Index], mode);
        Assert.Multiple(() =>
        {
            Assert.That(model.Tensors, Is.EqualTo((TensorInfo[])[.. First.Tensors, .. Second.Tensors]));
            Assert.That(model.Location, Is.EqualTo(folder[Index]));
            Assert.That(model.ShardNames, Is.EqualTo((string[])[One, Two]));
            Assert.That(model.WeightMap.Keys, Is.EqualTo((string[])["head", "embed", "norm"]));
            Assert.That(model.WeightMap["norm"], Is.EqualTo(One));
            Assert.That(model.Metadata, Is.EquivalentTo(Meta(("format", "pt"))), "what differs between shards is not the model's");
            Assert.That(Encoding.UTF8.GetString(model.IndexMetadata.Span), Is.EqualTo("""{"total_size": 186, "by": "a\u00e4"}"""));
            foreach (ArrayModel shard in (ArrayModel[])[First, Second])
            {
                foreach (TensorInfo tensor in shard.Tensors)
                    Assert.That(Data(model, model.Find(tensor.Name)!), Is.EqualTo(shard.DataOf(tensor.Name)));
            }

            Assert.That(model.TryPin(model.Tensors[0], out _), Is.EqualTo(mode == FileAccessMode.Mapped));
            Assert.Throws<ArgumentException>(() => model.Read(new TensorInfo("none", DType.U8, default), 0, []));
        });
    }

    [Test]
    public void TheSameLayoutIsWritten()
    {
        using var folder = Folder(GoodIndex);
        using var model = ShardedModel.Open(folder[Index]);
        Write(model, TensorSink.To(folder["out"], model));
        using var copy = ShardedModel.Open(Path.Combine(folder["out"], Index));
        AssertSame(copy, model);
        Assert.Multiple(() =>
        {
            string one = copy.ShardNames[0], two = copy.ShardNames[1], generation = copy.Generation!;
            Assert.That(generation, Does.Match("^[0-9a-f]{12}$"));
            Assert.That((one, two),
                Is.EqualTo(($"model-{generation}-00001-of-00002.safetensors", $"model-{generation}-00002-of-00002.safetensors")));
            Assert.That(Directory.GetFiles(folder["out"]).Select(Path.GetFileName).Order(StringComparer.Ordinal),
                Is.EqualTo((string[])[one, two, Index]));
            Assert.That(copy.WeightMap, Is.EqualTo((KeyValuePair<string, string>[])[new("head", two), new("embed", one), new("norm", one)]),
                "in the same order");
            Assert.That(File.ReadAllText(Path.Combine(folder["out"], Index)), Is.EqualTo($$"""
                {
                  "metadata": {
                    "total_size": 186,
                    "fedicu.generation": "{{generation}}",
                    "by": "a\u00e4"
                  },
                  "weight_map": {
                    "head": "{{two}}",
                    "embed": "{{one}}",
                    "norm": "{{one}}"
                  }
                }

                """.ReplaceLineEndings()));
        });
    }

    [Test]
    public void AShardedModelIsReplacedInItsOwnFolder()
    {
        using var folder = Folder(GoodIndex);
        using (var model = ShardedModel.Open(folder[Index]))
        {
            TensorSink sink = TensorSink.ToShardedFolder(folder.FullName, model);
            sink.Begin(model.Tensors, Meta(("round", "2")));
            foreach (TensorInfo tensor in model.Tensors)
                sink.Write(tensor, 0, new byte[tensor.ByteLength]);
            sink.Commit();
        }

        using var written = TensorSource.Open(folder.FullName);
        Assert.That(written.Tensors.SelectMany(tensor => Data(written, tensor)), Is.All.Zero);
        Assert.That(written.Metadata, Is.EquivalentTo(Meta(("round", "2"))));
        Assert.That(folder.Names(), Is.EqualTo((string[])[.. ((ShardedModel)written).ShardNames, Index]), "the old shards are gone");
    }

    [Test]
    public void ATensorWithoutAShardIsRejected()
    {
        using var folder = Folder(GoodIndex);
        using var model = ShardedModel.Open(folder[Index]);
        TensorSink sink = TensorSink.ToShardedFolder(folder["out"], model);
        var refusal = Assert.Throws<FedIcuException>(
            () => sink.Begin([.. model.Tensors, new TensorInfo("extra", DType.U8, default)], NoMetadata))!;
        Assert.That(refusal.Message, Is.EqualTo($"The layout of '{folder[Index]}' has no shard for tensor 'extra'."));
        Assert.That(Directory.Exists(folder["out"]), Is.False);
    }

    public static IEnumerable<TestCaseData> BadIndexes()
    {
        static TestCaseData Case(string index, string sentence) =>
            new TestCaseData(index, sentence).SetArgDisplayNames(index.Length > 80 ? index[..80] : index);

        const string Rest = $$""" "norm": "{{One}}", "head": "{{Two}}" """;
        yield return Case("", "'{i}' is empty.");
        yield return Case("{", "'{i}' is not valid JSON at byte 1.");
        yield return Case("[]", "'{i}' is an array, expected an object with a weight_map.");
        yield return Case("{} x", "'{i}' is not valid JSON at byte 3.");
        yield return Case("{}", "'{i}' has no weight_map.");
        yield return Case("""{"weight_map": []}""", "'{i}' has an array for its weight_map, expected an object.");
        yield return Case("""{"weight_map": {}, "weight_map": {}}""", "'{i}' holds weight_map twice.");
        yield return Case("""{"metadata": 1}""", "'{i}' has a number for its metadata, expected an object.");
        yield return Case("""{"metadata": {}, "metadata": {}}""", "'{i}' holds metadata twice.");
        yield return Case("""{"metadata": {"a": "\ud800"}}""", "'{i}' holds a string that is not valid Unicode at byte 19.");
        yield return Case("""{"weight_map": {"\udc00": "a"}}""", "'{i}' holds a string that is not valid Unicode at byte 16.");
        yield return Case("""{"weight_map": {"a": 1}}""", "'{i}' has a number for tensor 'a', expected the name of a shard.");
        yield return Case($$$"""{"weight_map": {"embed": "{{{One}}}", "embed": "{{{One}}}", {{{Rest}}}}}""",
            "'{i}' lists tensor 'embed' twice.");
        yield return Case($$$"""{"weight_map": {"embed": "{{{Two}}}", {{{Rest}}}}}""", "'{d}/" + One +
            "' holds tensor 'embed', which the index '{i}' puts into '" + Two + "'.");
        yield return Case($$$"""{"weight_map": { {{{Rest}}}}}""", "'{d}/" + One +
            "' holds tensor 'embed', which the index '{i}' does not list.");
        yield return Case($$$"""{"weight_map": {"embed": "{{{One}}}", "more": "{{{Two}}}", {{{Rest}}}}}""", "'{d}/" + Two +
            "' lacks tensor 'more', which the index '{i}' puts there.");
        yield return Case("""{"weight_map": {"a": "gone.safetensors"}}""", "'{d}/gone.safetensors' does not exist.");
        foreach (string name in (string[])["", ".", "..", "../a.safetensors", "a/b.safetensors", "/etc/a.safetensors", @"..\\a.safetensors",
            "C:a.safetensors", @"\u0000.safetensors", "a.safetensors/..",
            "config.json", Index, ".safetensors", "model.bin", @"a\n.safetensors", "a.SAFETENSORS", "a.safetensors "])
            yield return Case(
                $$$"""{"weight_map": {"a": "{{{name}}}"}}""",
                "'{i}' puts tensor 'a' into the shard '" + name.Replace(@"\\", @"\").Replace(@"\n", @"\u000a") +
                "', expected the plain name of a .safetensors file in the index's own folder.");
    }

    [TestCaseSource(nameof(BadIndexes))]
    public void AMalformedIndexIsRejectedWithOneSentence(string index, string sentence)
    {
        using var folder = Folder(index);
        var refusal = Assert.Throws<InvalidModelException>(() => ShardedModel.Open(folder[Index]))!;
        Assert.That(refusal.Message, Is.EqualTo(sentence.Replace("{i}", folder[Index]).Replace("{d}", folder.FullName)));
    }

    [Test]
    public void AMalformedShardIsNamed()
    {
        using var folder = Folder(GoodIndex);
        folder.Put(Two, FileOf("{}", 1));
        var refusal = Assert.Throws<InvalidModelException>(() => ShardedModel.Open(folder[Index]))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{folder[Two]}': the tensors take 0 bytes, but the file holds 1 bytes of data."));
    }

    private static TempFolder Folder(string index)
    {
        var folder = new TempFolder();
        Write(First, TensorSink.ToFile(folder[One]));
        Write(Second, TensorSink.ToFile(folder[Two]));
        folder.Put(Index, Encoding.UTF8.GetBytes(index));
        return folder;
    }

    private static Dictionary<string, string> Meta(params (string Key, string Value)[] entries) =>
        entries.ToDictionary(entry => entry.Key, entry => entry.Value);

    [TestCase("""{"weight_map":{},"a\\ud83d":null}"""), TestCase("""{"weight_map":{},"a":{"b":["\\ud83d"]}}"""),
        TestCase("""{"metadata":{"\\ud83d":1},"weight_map":{}}""")]
    public void AnUnpairedSurrogateAnywhereInAnIndexIsRejected(string index)
    {
        using var folder = new TempFolder();
        string path = folder.Put("model.safetensors.index.json",
            System.Text.Encoding.UTF8.GetBytes(index.Replace("\\\\", "\\", StringComparison.Ordinal)));
        Assert.That(() => ShardedModel.Open(path), Throws.TypeOf<InvalidModelException>().With.Message.Contains("not valid Unicode"));
    }
}
