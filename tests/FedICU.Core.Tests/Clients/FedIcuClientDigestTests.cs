using FedICU.Compute;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>The received model's digest is computed in the client's first pass.</summary>
internal sealed class FedIcuClientDigestTests
{
    // a tensor of several panels, small tensors, an empty one, and one of a type that is not computed
    private static readonly MemoryModel Global = Model(1), Local = Model(2);
    private static readonly string Digest = ModelDigest.Compute(Global);

    [Test]
    public void TheDigestIsTheModelsForAnyNumberOfThreads([Values(1, 2, 7)] int threads, [Values] MaskRule mask, [Values] bool lent)
    {
        using MemorySink momentum = new(), update = new();
        var global = new CountedSource(Global) { Lends = lent };
        new FedIcuClient(new FedIcuClientOptions { Threads = threads, Mask = mask }).CreateUpdate(
            global, Local, update, momentumOutput: momentum);
        Assert.That((update.Model.Metadata[MetadataKeys.Base], momentum.Model.Metadata[MetadataKeys.Base]), Is.EqualTo((Digest, Digest)));
    }

    [Test]
    public void TwoPassesAreEnough()
    {
        using MemorySink momentum = new(), next = new();
        var client = new FedIcuClient();
        client.CreateUpdate(Global, Local, TensorSink.Discard, momentumOutput: momentum);
        CountedSource global = new(Global), local = new(Local), kept = new(momentum.Model);
        client.CreateUpdate(global, local, TensorSink.Discard, kept, next);
        Assert.That(new[] { global.ReadOf("w"), local.ReadOf("w"), kept.ReadOf("w") }, Is.All.EqualTo(2));
        Assert.That((global.ReadOf("kept"), local.ReadOf("kept")), Is.EqualTo((1, 1)));
    }

    [Test]
    public void AKnownDigestIsNotComputedAgain()
    {
        string known = "sha256:" + new string('a', 64);
        using MemorySink momentum = new(), update = new();
        var global = new CountedSource(Global);
        new FedIcuClient(new FedIcuClientOptions { BaseDigest = known }).CreateUpdate(global, Local, update, momentumOutput: momentum);
        Assert.That((update.Model.Metadata[MetadataKeys.Base], momentum.Model.Metadata[MetadataKeys.Base]), Is.EqualTo((known, known)));
        Assert.That((global.ReadOf("w"), global.ReadOf("kept")), Is.EqualTo((2, 0)));
    }

    [TestCase(""), TestCase("sha256:"), TestCase("SHA256:0000000000000000000000000000000000000000000000000000000000000000")]
    [TestCase("sha256:000000000000000000000000000000000000000000000000000000000000000G")]
    public void AMalformedDigestIsRefused(string text) => Assert.That(
        () => new FedIcuClient(new FedIcuClientOptions { BaseDigest = text }),
        Throws.TypeOf<InvalidOptionsException>().With.Message.Contains(
            $"base digest is '{text}'; sha256: and 64 lower-case hexadecimal digits were expected."));

    [Test]
    public void AMomentumInFilesHoldsTheDigest([Values] bool sharded)
    {
        using var folder = new TempFolder();
        string place = folder[sharded ? "model" : "momentum.safetensors"];
        TensorInfo[] computed = [.. Global.Tensors.Where(tensor => tensor.DType.IsComputed)];
        if (sharded)
        {
            Directory.CreateDirectory(place);
            foreach ((string name, TensorInfo[] part) in new[] { ("a", computed[..1]), ("b", computed[1..]) })
                new ArrayModel([.. part.Select(tensor => (tensor, new byte[tensor.ByteLength]))]).SaveTo(
                    TensorSink.ToFile(Path.Combine(place, $"{name}.safetensors")));
            string map = string.Join(", ", computed.Select((tensor, i) => $"\"{tensor.Name}\": \"{(i == 0 ? "a" : "b")}.safetensors\""));
            File.WriteAllText(Path.Combine(place, "model.safetensors.index.json"), $$"""{"metadata": {}, "weight_map": { {{map}} } }""");
        }

        using (TensorSource? layout = sharded ? TensorSource.Open(place) : null)
            new FedIcuClient().CreateUpdate(
                Global, Local, TensorSink.Discard, momentumOutput: sharded ? TensorSink.To(place, layout!) : TensorSink.ToFile(place));
        foreach (string path in sharded ? Directory.GetFiles(place, "*.safetensors") : [place])
        {
            using TensorSource file = TensorSource.Open(path);
            Assert.That(file.Metadata[MetadataKeys.Base], Is.EqualTo(Digest), path);
        }
    }

    [Test]
    public void ASinkThatCannotAmendItsMetadataHasTheDigestFromTheStart()
    {
        var momentum = new Plain();
        new FedIcuClient().CreateUpdate(Global, Local, TensorSink.Discard, momentumOutput: momentum);
        Assert.That(momentum.Metadata![MetadataKeys.Base], Is.EqualTo(Digest));
        Assert.That(() => momentum.Amend(momentum.Metadata), Throws.TypeOf<NotSupportedException>());
    }

    [Test]
    public void AmendedMetadataMustHaveTheSameLength()
    {
        using var folder = new TempFolder();
        TensorSink sink = TensorSink.ToFile(folder["m.safetensors"]);
        sink.Begin([], new Dictionary<string, string> { ["key"] = "one" });
        Assert.That(() => sink.Amend(new Dictionary<string, string> { ["key"] = "much longer" }), Throws.ArgumentException);
        sink.Amend(new Dictionary<string, string> { ["key"] = "two" });
        sink.Commit();
        using TensorSource file = TensorSource.Open(folder["m.safetensors"]);
        Assert.That(file.Metadata["key"], Is.EqualTo("two"));
    }

    [Test]
    public void ATruncatedFileGivesAnErrorSentence()
    {
        using var folder = new TempFolder();
        Global.SaveTo(TensorSink.ToFile(folder["m.safetensors"]));
        using TensorSource file = TensorSource.Open(folder["m.safetensors"]);
        using (FileStream stream = new(folder["m.safetensors"], FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            stream.SetLength(stream.Length - 8);
        using var momentum = new MemorySink();
        var client = new FedIcuClient(new FedIcuClientOptions { Threads = 4 });
        Assert.That(() => client.CreateUpdate(file, Local, TensorSink.Discard, momentumOutput: momentum),
            Throws.InstanceOf<InvalidModelException>().With.Message.Contains("was truncated while it was read"));
        Assert.That(() => momentum.Model, Throws.InvalidOperationException);
    }

    private static MemoryModel Model(int seed)
    {
        var random = new Random(seed);
        return new MemoryModel
        {
            { "kept", [3], new[] { 1L, 2, 3 } },
            { "small", [5], Values(5) },
            { "empty", [0, 4], Values(0) },
            { "w", [1100, 1300], Values(1100 * 1300) },
            { "v", [7, 9], Values(63) },
        };

        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - .5f)];
    }

    /// <summary>A caller's own sink.</summary>
    private sealed class Plain : TensorSink
    {
        public IReadOnlyDictionary<string, string>? Metadata { get; private set; }

        public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata) => Metadata = metadata;

        public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) { }

        public override void Commit() { }

        public override void Abort() { }
    }
}
