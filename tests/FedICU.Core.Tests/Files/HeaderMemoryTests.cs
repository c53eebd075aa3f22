using System.Text;
using FedICU.Compute.Simd;
using FedICU.Files;
using FedICU.Model;
using FedICU.Rounds;

namespace FedICU.Tests.Files;

/// <summary>
/// The memory that file headers occupy, whatever their content: less than four times their length. Files with equal
/// layouts share the memory of their tensor lists.
/// </summary>
[NonParallelizable]
internal sealed class HeaderMemoryTests
{
    private const int Bytes = 4 << 20;

    private TempFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new TempFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    private static IEnumerable<TestCaseData> Headers()
    {
        yield return Case("short metadata", Fill(i => $"\"{i:x}\":\"\"", "{\"__metadata__\":{", "}}"));
        yield return Case("long metadata", $$$"""{"__metadata__":{"a":"{{{new string('x', Bytes)}}}"}}""");
        yield return Case("escaped metadata",
            $$$"""{"__metadata__":{"a":"{{{string.Concat(Enumerable.Repeat("\\u00e9", Bytes / 6))}}}"}}""");
        yield return Case("empty tensors", Fill(i => Entry(i, "0"), "{", "}"));
        yield return Case("tensors of shapes of their own", Fill(i => Entry(i, $"0,{i}"), "{", "}"));
        yield return Case("tensors of 64 dimensions", Fill(i => Entry(i, $"0,{i}{string.Concat(Enumerable.Repeat(",1", 62))}"), "{", "}"));

        static TestCaseData Case(string name, string header) => new TestCaseData(header).SetArgDisplayNames(name);

        static string Fill(Func<int, string> entry, string start, string end)
        {
            var text = new StringBuilder(start);
            for (int i = 0; text.Length < Bytes; i++)
                text.Append(i == 0 ? "" : ",").Append(entry(i));
            return text.Append(end).ToString();
        }
    }

    private static string Entry(int number, string shape) =>
        $"\"{number:x}\":{{\"dtype\":\"U8\",\"shape\":[{shape}],\"data_offsets\":[0,0]}}";

    [TestCaseSource(nameof(Headers))]
    public void AHeaderTakesLessThanFourTimesItsLength(string header)
    {
        string path = _folder.Put("m.safetensors", TestModels.FileOf(header, 0));
        long before = GC.GetTotalMemory(forceFullCollection: true);
        using SafetensorsFile file = SafetensorsFile.Open(path);
        long kept = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.That(kept, Is.LessThan(4L * header.Length), $"{(double)kept / header.Length:F2} times the header");
        GC.KeepAlive(file);
    }

    [Test]
    public void APackedUpdateTakesLessThanFourTimesItsHeader([Values(false, true)] bool known)
    {
        var tensors = new StringBuilder("{\"__metadata__\":{\"fedicu.update\":\"sparse\",\"fedicu.base\":\"sha256:00\"");
        string[] names =
            [.. Enumerable.Range(0, Bytes / 400).Select(i => $"base_model.model.model.layers.{i}.self_attn.q_proj.lora_A.weight")];
        foreach (string name in names)
            tensors.Append($",\"fedicu.shape.{name}\":\"[8, 4096]\"");
        int at = 0;
        tensors.Append('}');
        foreach (string name in names)
        {
            tensors.Append($",\"{name}#values\":{{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[{at},{at}]}}");
            tensors.Append($",\"{name}#mask\":{{\"dtype\":\"U8\",\"shape\":[4096],\"data_offsets\":[{at},{at += 4096}]}}");
        }

        string header = tensors.Append('}').ToString(), path = _folder["m.safetensors"];
        using (FileStream file = File.Create(path))
        {
            file.Write(TestModels.FileOf(header, 0));
            file.SetLength(file.Length + at);
        }

        var global = new MemoryModel();
        foreach (string name in known ? names : [])
            global.Add(new TensorInfo(name, DType.F32, new TensorShape(8, 4096)), (nint)1);
        long before = GC.GetTotalMemory(forceFullCollection: true);
        using var participant = new Participant(ClientUpdate.FromFile("x", path, 1), new TensorNames([]));
        participant.Open(global, new RoundFiles(), CancellationToken.None);
        long kept = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.That(participant.Tensors.Count, Is.EqualTo(names.Length));
        Assert.That(kept, Is.LessThan(4L * header.Length), $"{(double)kept / header.Length:F2} times the header");
    }

    [Test]
    public void ShardsTakeLessThanFourTimesTheirHeaders()
    {
        string metadata = string.Join(',', Enumerable.Range(0, Bytes / 10).Select(i => $"\"{i:x}\":\"\""));
        string header = $"{{\"__metadata__\":{{{metadata}}}}}";
        string[] names = ["a.safetensors", "b.safetensors"];
        foreach (string name in names)
            _folder.Put(name,
                TestModels.FileOf(header[..^1] + $",\"{name}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}}}", 0));
        string index = $"{{\"weight_map\":{{{string.Join(',', names.Select(name => $"\"{name}\":\"{name}\""))}}}}}";
        string path = _folder.Put("model.safetensors.index.json", Encoding.UTF8.GetBytes(index));
        long before = GC.GetTotalMemory(forceFullCollection: true);
        using ShardedModel model = ShardedModel.Open(path);
        long kept = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.That(kept, Is.LessThan(8L * header.Length), $"{kept / 2.0 / header.Length:F2} times the headers");
        Assert.That((model.Metadata.ContainsKey("1f"), model.Metadata.ContainsKey("x")), Is.EqualTo((true, false)));
    }

    [Test]
    public void EqualLayoutsAreKeptOnce()
    {
        string header = $"{{{string.Join(',', Enumerable.Range(0, 20_000).Select(i => Entry(i, "0")))}}}";
        string path = _folder.Put("m.safetensors", TestModels.FileOf(header, 0));
        var round = new RoundFiles();
        var files = new List<SafetensorsFile> { SafetensorsFile.Open(path, FileAccessMode.Read, round) };
        long before = GC.GetTotalMemory(forceFullCollection: true);
        for (int i = 0; i < 50; i++)
            files.Add(SafetensorsFile.Open(path, FileAccessMode.Read, round));
        Assert.That(GC.GetTotalMemory(forceFullCollection: true) - before, Is.LessThan(4L * header.Length), "of 50 files");
        files.ForEach(file => file.Dispose());
    }

    [Test]
    public void ADroppedClientOccupiesNoMemory()
    {
        string header = $$$"""{"__metadata__":{"a":"{{{new string('x', Bytes)}}}"}}""";
        _folder.Put("bad.safetensors", TestModels.FileOf(header, 0));
        MemoryModel global = Models.Of("w", [1], 1);
        long largest = 0, before = GC.GetTotalMemory(forceFullCollection: true);
        var options = new RoundOptions
        {
            OnMissing = FaultPolicy.DropClient,
            Quorum = 1,
            Progress = new Measuring(() => largest = GC.GetTotalMemory(forceFullCollection: true)),
        };
        ClientUpdate[] clients =
        [
            .. Enumerable.Range(0, 5).Select(k => ClientUpdate.FromFile($"bad {k}", _folder["bad.safetensors"], 1)),
            ClientUpdate.FromTensors("good", global, 1),
        ];
        Models.Run(new FedAvgAggregator(), global, clients, options).Sink.Dispose();
        Assert.That(largest - before, Is.LessThan(Bytes));
    }

    [Test]
    public void PackedMetadataBehavesLikeADictionary()
    {
        string header = """{"__metadata__":{"b":"2","a":"\u00e91","":"empty key","\uD83D\uDE00":"pair"}}""";
        using SafetensorsFile file = SafetensorsFile.Open(_folder.Put("m.safetensors", TestModels.FileOf(header, 0)));
        IReadOnlyDictionary<string, string> metadata = file.Metadata;
        Assert.That(metadata.Select(pair => (pair.Key, pair.Value)),
            Is.EqualTo(new[] { ("b", "2"), ("a", "é1"), ("", "empty key"), ("😀", "pair") }));
        Assert.That((metadata.Count, metadata["a"], metadata["😀"], metadata.ContainsKey("c"), metadata.ContainsKey("\ud83d")),
            Is.EqualTo((4, "é1", "pair", false, false)));
        Assert.That(() => metadata["c"], Throws.TypeOf<KeyNotFoundException>());
        string twice = _folder.Put("n.safetensors", TestModels.FileOf("""{"__metadata__":{"a":"1","b":"2","\u0061":"3"}}""", 0));
        Assert.That(
            () => SafetensorsFile.Open(twice),
            Throws.TypeOf<InvalidModelException>().With.Message.Contains("__metadata__ holds 'a' twice"));
    }

    private sealed class Measuring(Action measure) : IProgress<RoundProgress>
    {
        public void Report(RoundProgress value) => measure();
    }
}
