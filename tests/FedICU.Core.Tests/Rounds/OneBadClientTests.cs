using System.Text;
using CsCheck;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// One client of several has a fault, of any kind: by default the round is refused in a sentence that names it; where every policy drops
/// the client, the
/// round has the bits of one without it.
/// </summary>
internal sealed class OneBadClientTests
{
    private const int GoodClients = 4;

    // file systems note times in steps of a few milliseconds
    private static readonly TimeSpan ClockTick = TimeSpan.FromMilliseconds(30);

    private static readonly MemoryModel Global = Models.Random(1);
    private static readonly TensorInfo First = Global.Tensors.First(tensor => tensor.DType.IsComputed && tensor.ElementCount > 1);
    private static readonly string Digest = ModelDigest.Compute(Global);

    private static readonly RoundOptions DropAll = new()
    {
        Quorum = 1,
        Round = 7,
        OnNonFinite = FaultPolicy.DropClient,
        OnMissing = FaultPolicy.DropClient,
        OnExtra = FaultPolicy.DropClient,
        OnShape = FaultPolicy.DropClient,
        OnDType = FaultPolicy.DropClient,
        OnBase = FaultPolicy.DropClient,
        OnUnreadable = FaultPolicy.DropClient,
        OnWeight = FaultPolicy.DropClient,
        OnConfig = ConfigPolicy.DropClient,
        OnQuantized = QuantizedPolicy.DropClient,
        OnChanged = FaultPolicy.DropClient,
        OnStale = StalePolicy.DropClient,
    };

    private TempFolder _folder = null!;

    [SetUp]
    public void SetUp() => _folder = new TempFolder();

    [TearDown]
    public void TearDown() => _folder.Dispose();

    /// <summary>A way to be wrong: the fault it is refused for, and what makes the client's update in a folder.</summary>
    private sealed record Kind(string Name, RoundFault Fault, Func<TempFolder, string, ClientUpdate> Make)
    {
        public override string ToString() => Name;
    }

    private static Kind[] Kinds =>
    [
        .. new[] { "-5", "nan", "NaN", "inf", "-inf", "1e400", "1e300", "many", "", "0x10", "１２" }.Select(weight => Stating($"num_examples '{weight}'", RoundFault.Weight, MetadataKeys.Examples, weight)),
        new("no weight among weighted ones", RoundFault.Weight, (_, id) => ClientUpdate.FromTensors(id, Models.Random(9))),
        new("a weight of -1 by the caller", RoundFault.Weight, (_, id) => ClientUpdate.FromTensors(id, Models.Random(9), -1)),
        new("a weight of NaN by the caller", RoundFault.Weight, (_, id) => ClientUpdate.FromTensors(id, Models.Random(9), double.NaN)),
        Stating("another round", RoundFault.Stale, MetadataKeys.Round, "6"),
        Stating("a round that is no number", RoundFault.Stale, MetadataKeys.Round, "\u202e7\u2028" + new string('9', 5000)),
        Stating("another base", RoundFault.Base, MetadataKeys.Base, "sha256:" + new string('0', 64)),
        Stating("a base of 10,000 characters", RoundFault.Base, MetadataKeys.Base, new string('\u001b', 10_000)),
        Stating("an unknown kind", RoundFault.Unreadable, MetadataKeys.Update, "patch"),
        Stating("a client's state", RoundFault.Unreadable, MetadataKeys.State, "momentum"),
        Stating("sparse without a base", RoundFault.Unreadable, MetadataKeys.Update, "sparse"),
        new("no file", RoundFault.Unreadable, (folder, id) => ClientUpdate.FromFile(id, folder["no-such.safetensors"], 1)),
        File("an empty file", []),
        File("a web page", "<!DOCTYPE html><html><head><title>404</title></head></html>"u8),
        File("a pointer of Git LFS", "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"u8),
        File("a header of 2^60 bytes", [0, 0, 0, 0, 0, 0, 0, 16, .. new byte[100]]),
        File("a header that is no JSON", TestModels.FileOf("{\"a\":", 0)),
        File("half a surrogate pair", TestModels.FileOf("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)),
        File("a shape of more than 64 bits", TestModels.FileOf("""{"a":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807],"data_offsets":[0,4]}}""", 4)),
        File("data that overlap", TestModels.FileOf("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4)),
        new("a file cut short", RoundFault.Unreadable, (folder, id) => InFile(folder, id, Models.Random(9), bytes => bytes[..^5])),
        new("an index that leads out of its folder", RoundFault.Unreadable, (folder, id) => InText(folder, id, "m.safetensors.index.json", """{"weight_map":{"a":"../b.safetensors"}}""")),
        new("an index whose shard is missing", RoundFault.Unreadable, (folder, id) => InText(folder, id, "m.safetensors.index.json", """{"weight_map":{"a":"b.safetensors"}}""")),
        new("an adapter of a broken configuration", RoundFault.Unreadable, (folder, id) => InAdapter(folder, id, """{"peft_type":"LORA","r":-1}""")),
        new("an adapter of half a configuration", RoundFault.Unreadable, (folder, id) => InAdapter(folder, id, """{"peft_type":""")),
        Sparse("a sparse shape of 2^63-7", "[9223372036854775801]"),
        Sparse("a sparse shape of more bytes than 64 bits count", "[9223372036854775807, 1]"),
        Sparse("a sparse shape of 65 dimensions", $"[{string.Join(", ", Enumerable.Repeat(1, 65))}]"),
        Sparse("a sparse shape of 3 million dimensions", $"[{string.Join(",", Enumerable.Repeat(1, 3_000_000))}]"),
        Sparse("a negative sparse shape", "[-1]"),
        new("another sparse shape", RoundFault.Shape, (_, id) => Packed(id, "[3]", DType.F32, 1)),
        Sparse("no sparse shape", "many"),
        new("packed values of integers", RoundFault.Unreadable, (_, id) => Packed(id, "[8]", DType.I32, 1)),
        new("more packed values than bits", RoundFault.Unreadable, (_, id) => Packed(id, "[8]", DType.F32, 2)),
        new("a tensor missing", RoundFault.Missing, (_, id) => ClientUpdate.FromTensors(id, new MemoryModel(), 1)),
        new("a tensor more", RoundFault.Extra, (_, id) => ClientUpdate.FromTensors(id, With(Models.Random(9), new TensorInfo("\u202emore\n", DType.F32, new TensorShape(1))), 1)),
        new("another shape", RoundFault.Shape, (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { Shape = new TensorShape(1, tensor.ElementCount) }), 1)),
        new("integers for floats", RoundFault.DType, (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { DType = DType.I32 }), 1)),
        new("values that are NaN", RoundFault.NonFinite, (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { DType = DType.F32 }, float.NaN), 1)),
        new("values too large for the output's type", RoundFault.NonFinite, (_, id) => ClientUpdate.FromTensors(id, Changed(tensor => tensor with { DType = DType.F64 }, 1e300), 1)),
        new("codes of 4 bits", RoundFault.Quantized, (_, id) => ClientUpdate.FromTensors(id, With(Models.Random(9),
            new TensorInfo("q.weight", DType.U8, new TensorShape(4)), new TensorInfo("q.weight.absmax", DType.F32, new TensorShape(1))), 1)),
    ];

    [TestCaseSource(nameof(Kinds))]
    public void IsNamedOrDropped(object kind)
    {
        var (name, fault, make) = (Kind)kind;
        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator() })
        {
            // a round that another update was made for is noted by default
            RoundOptions strict = new() { Round = 7, OnStale = StalePolicy.Reject };
            RoundRejectedException refused = Assert.Throws<RoundRejectedException>(() => Models.Run(aggregator, Global, Among(make), strict), name)!;
            Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((fault, "bad")), refused.Message);
            AssertReadable(refused.Message);
            AssertDropped(aggregator, Among(make), DropAll);
        }
    }

    [Test]
    public void SeveralAreDroppedTogether() => Gen.Int[0, Kinds.Length - 1].Array[1, 3].Sample(chosen =>
    {
        Kind[] kinds = Kinds;
        int place = 0;
        ClientUpdate[] bad = [.. chosen.Select(i => kinds[i].Make(_folder, $"bad {place++} {Guid.NewGuid():N}"))];
        AssertDropped(new FedAvgAggregator(), [.. bad, .. Good], DropAll with { Threads = 1 + chosen.Length % 3 });
    }, iter: 50, threads: 1);

    [Test]
    public void AFileThatIsRewrittenWhileItIsReadIsDropped([Values(false, true)] bool truncated, [Values(false, true)] bool timeSetBack)
    {
        if (timeSetBack && !OperatingSystem.IsLinux())
            Assert.Ignore("needs Linux, which tells when a file's status changed");
        string path = _folder["bad.safetensors"];
        Models.Random(9).SaveTo(TensorSink.ToFile(path));
        byte[] whole = System.IO.File.ReadAllBytes(path);
        Thread.Sleep(ClockTick);
        DateTime written = System.IO.File.GetLastWriteTimeUtc(path);
        RoundRejectedException refused = Assert.Throws<RoundRejectedException>(() => Run(new RoundOptions()))!;
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Changed, "bad")), refused.Message);
        Restore();
        Assert.Throws<RoundRejectedException>(() => Run(DropAll with { OnChanged = FaultPolicy.Reject }));
        Restore();
        AssertDropped(new FedAvgAggregator(), [ClientUpdate.FromFile("bad", path, 1), .. Good], DropAll with { Progress = new Rewriting(Rewrite), Threads = 1 });

        void Run(RoundOptions options) =>
            Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromFile("bad", path, 1), .. Good], options with { Progress = new Rewriting(Rewrite), Threads = 1 });

        void Restore()
        {
            System.IO.File.WriteAllBytes(path, whole);
            Thread.Sleep(ClockTick);
        }

        void Rewrite()
        {
            using (FileStream file = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            {
                if (truncated)
                    file.SetLength(file.Length - 1);
                file.Position = file.Length - 1;
                file.WriteByte(0x42);
            }

            if (timeSetBack)
                System.IO.File.SetLastWriteTimeUtc(path, written);
        }
    }

    [Test]
    public void AFileThatIsReplacedOrRemovedWhileItIsOpenIsReadAsItWas([Values(false, true)] bool removed)
    {
        string path = _folder["good.safetensors"];
        Models.Random(9).SaveTo(TensorSink.ToFile(path));
        (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromFile("replaced", path, 1), .. Good], new RoundOptions
        {
            Threads = 1,
            Progress = new Rewriting(() =>
            {
                if (removed)
                    System.IO.File.Delete(path);
                else
                    Models.Random(10).SaveTo(TensorSink.ToFile(path));
            }),
        });
        (_, MemorySink expected) = Models.Run(new FedAvgAggregator(), Global, [ClientUpdate.FromTensors("replaced", Models.Random(9), 1), .. Good]);
        using (sink)
        using (expected)
            Assert.That(Models.AllBytes(sink.Model), Is.EqualTo(Models.AllBytes(expected.Model)));
        Assert.That(report.Clients.All(client => client.Included));
    }

    [Test]
    public void AGlobalModelThatIsRewrittenIsRefused()
    {
        string path = _folder["global.safetensors"], output = _folder["next.safetensors"];
        Global.SaveTo(TensorSink.ToFile(path));
        using TensorSource global = TensorSource.Open(path);
        var round = new AggregationRound(global, DropAll with { Progress = new Rewriting(() => System.IO.File.SetLastWriteTimeUtc(path, DateTime.UnixEpoch)), Threads = 1 });
        foreach (ClientUpdate client in Good)
            round.Add(client);
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile(output)),
            Throws.InstanceOf<InvalidModelException>().With.Message.StartsWith($"'{path}' was changed or replaced while it was read"));
        Assert.That(System.IO.File.Exists(output), Is.False);
    }

    [Test]
    public void TheFewerOfSilentAndWeightedClientsAreAtFault()
    {
        static ClientUpdate Silent(string id) => ClientUpdate.FromTensors(id, Models.Random(3));
        static ClientUpdate Weighted(string id) => ClientUpdate.FromTensors(id, Models.Random(4), 2);
        Assert.That(Left(Silent("a"), Silent("b"), Weighted("c")), Is.EqualTo("c"));
        Assert.That(Left(Silent("a"), Weighted("b"), Weighted("c")), Is.EqualTo("a"));
        Assert.That(Left(Silent("a"), Weighted("b")), Is.EqualTo("a"));

        static string Left(params ClientUpdate[] clients)
        {
            (RoundReport report, MemorySink sink) = Models.Run(new FedAvgAggregator(), Global, clients, new RoundOptions { OnWeight = FaultPolicy.DropClient, Quorum = 1 });
            sink.Dispose();
            return string.Join(',', report.Clients.Where(client => !client.Included).Select(client => client.Id));
        }
    }

    [Test]
    public void AResultThatDoesNotFitIsTheFaultOfTheLargestValues()
    {
        static MemoryModel Column(Func<int, float> value) => new() { { "w", [400, 1], Enumerable.Range(0, 400).Select(i => (Half)value(i)).ToArray() } };
        MemoryModel global = Column(_ => 0.5f);
        ClientUpdate[] good = [.. Enumerable.Range(0, 4).Select(k => ClientUpdate.FromTensors($"good {k}", Column(i => i == 0 ? 1 : 0), 1))];
        // each value fits F16; the norm that FedICU gives the column's one direction does not
        ClientUpdate bad = ClientUpdate.FromTensors("bad", Column(_ => 65504), 1);
        Assert.That(() => Models.Run(new FedIcuAggregator(), global, [bad, .. good]), Throws.TypeOf<RoundRejectedException>().With.Message.Contains("does not fit F16"));
        (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), global, [bad, .. good], DropAll);
        (_, MemorySink without) = Models.Run(new FedIcuAggregator(), global, good);
        using (sink)
        using (without)
            Assert.That(Models.AllBytes(sink.Model), Is.EqualTo(Models.AllBytes(without.Model)));
        Assert.That(report.Clients.Single(client => !client.Included).Reason, Does.StartWith("Client 'bad': tensor 'w' has the largest values, and "));
    }

    [Test]
    public void TheLargestWeightIsAnOption()
    {
        ClientUpdate heavy = ClientUpdate.FromTensors("heavy", Models.Random(3), 101);
        Assert.That(() => Models.Run(new FedAvgAggregator(), Global, [heavy], new RoundOptions { MaxWeight = 100 }),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo("Client 'heavy' has the weight 101; at most 100 (max-weight) was expected."));
        ClientUpdate[] largest = [.. Enumerable.Range(0, 2).Select(k => ClientUpdate.FromTensors($"{k}", Models.Random(k), 1.7e308))];
        Assert.That(() => Models.Run(new FedAvgAggregator(), Global, largest, new RoundOptions { MaxWeight = double.MaxValue }),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client '1' has the weight 1.7E+308, with which the sum"));
    }

    private static ClientUpdate[] Good => [.. Enumerable.Range(0, GoodClients).Select(k => ClientUpdate.FromTensors($"good {k}", Models.Random(2 + k), 1 + k))];

    private ClientUpdate[] Among(Func<TempFolder, string, ClientUpdate> make) => [.. Good[..2], make(_folder, "bad"), .. Good[2..]];

    /// <summary>
    /// The round has the bits of one without the clients whose ids begin with <c>bad</c>, and says why they are not in it.
    /// </summary>
    private static void AssertDropped(IAggregator aggregator, ClientUpdate[] clients, RoundOptions options)
    {
        (RoundReport report, MemorySink sink) = Models.Run(aggregator, Global, clients, options);
        (_, MemorySink without) = Models.Run(aggregator, Global, Good, new RoundOptions { Round = 7 });
        using (sink)
        using (without)
            Assert.That(Models.AllBytes(sink.Model), Is.EqualTo(Models.AllBytes(without.Model)));
        foreach (ClientReport client in report.Clients)
        {
            Assert.That(client.Included, Is.EqualTo(!client.Id.StartsWith("bad", StringComparison.Ordinal)), client.Reason);
            Assert.That(client.Included || client.Reason!.Contains($"'{client.Id}'", StringComparison.Ordinal), client.Reason);
            AssertReadable(client.Reason ?? "");
        }

        Assert.That(RoundReport.FromJson(report.ToJson()).Clients.Select(client => client.Reason), Is.EqualTo(report.Clients.Select(client => client.Reason)));
    }

    private static void AssertReadable(string sentence)
    {
        Assert.That(sentence, Has.Length.LessThanOrEqualTo(1000));
        Assert.That(sentence.Any(c => char.IsControl(c) || c is '\u2028' or '\u2029' or (>= '\u202a' and <= '\u202e')), Is.False, sentence);
    }

    private static Kind Stating(string name, RoundFault fault, string key, string value) => new(name, fault, (_, id) =>
        ClientUpdate.FromTensors(id, Models.Random(9, metadata: new Dictionary<string, string> { [MetadataKeys.Examples] = "3", [key] = value })));

    private static Kind File(string name, ReadOnlySpan<byte> bytes)
    {
        byte[] content = bytes.ToArray();
        return new(name, RoundFault.Unreadable, (folder, id) =>
        {
            System.IO.File.WriteAllBytes(folder[id + ".safetensors"], content);
            return ClientUpdate.FromFile(id, folder[id + ".safetensors"], 1);
        });
    }

    private static ClientUpdate InFile(TempFolder folder, string id, TensorSource model, Func<byte[], byte[]> change)
    {
        string path = folder[id + ".safetensors"];
        model.SaveTo(TensorSink.ToFile(path));
        System.IO.File.WriteAllBytes(path, change(System.IO.File.ReadAllBytes(path)));
        return ClientUpdate.FromFile(id, path, 1);
    }

    private static ClientUpdate InText(TempFolder folder, string id, string name, string text)
    {
        Directory.CreateDirectory(folder[id]);
        System.IO.File.WriteAllText(Path.Combine(folder[id], name), text);
        return ClientUpdate.FromFile(id, Path.Combine(folder[id], name), 1);
    }

    private static ClientUpdate InAdapter(TempFolder folder, string id, string config)
    {
        Directory.CreateDirectory(folder[id]);
        Models.Random(9).SaveTo(TensorSink.ToFile(Path.Combine(folder[id], "adapter_model.safetensors")));
        System.IO.File.WriteAllText(Path.Combine(folder[id], "adapter_config.json"), config);
        return ClientUpdate.FromFile(id, folder[id], 1);
    }

    private static Kind Sparse(string name, string shape) => new(name, RoundFault.Unreadable, (_, id) => Packed(id, shape, DType.F32, 1));

    /// <summary>A sparse update of one tensor, of which one entry of eight was sent.</summary>
    private static ClientUpdate Packed(string id, string shape, DType dtype, int values)
    {
        var metadata = new Dictionary<string, string>
        {
            [MetadataKeys.Update] = "sparse",
            [MetadataKeys.Base] = Digest,
            [MetadataKeys.ShapePrefix + First.Name] = shape,
        };
        var model = new MemoryModel(metadata);
        var info = new TensorInfo(First.Name + "#values", dtype, new TensorShape(values));
        model.Add(info, new byte[info.ByteLength]);
        model.Add(First.Name + "#mask", [1], new byte[] { 1 });
        return ClientUpdate.FromTensors(id, model, 1);
    }

    private static MemoryModel With(MemoryModel model, params TensorInfo[] more)
    {
        foreach (TensorInfo tensor in more)
            model.Add(tensor, new byte[tensor.ByteLength]);
        return model;
    }

    /// <summary>A model with one tensor in another form, all its elements of one value.</summary>
    private static MemoryModel Changed(Func<TensorInfo, TensorInfo> change, double value = 0)
    {
        MemoryModel source = Models.Random(9);
        var model = new MemoryModel();
        foreach (TensorInfo tensor in source.Tensors)
        {
            if (tensor.Name != First.Name)
            {
                model.Add(tensor, TestModels.Data(source, tensor));
                continue;
            }

            TensorInfo changed = change(tensor);
            model.Add(changed, changed.DType.IsComputed ? Models.Tensor(changed.Name, changed.DType, changed.Shape.Dimensions.ToArray(), _ => value).Bytes : new byte[changed.ByteLength]);
        }

        return model;
    }

    /// <summary>Does something once, when the first tensor was aggregated.</summary>
    private sealed class Rewriting(Action rewrite) : IProgress<RoundProgress>
    {
        private Action? _rewrite = rewrite;

        public void Report(RoundProgress value)
        {
            if (value.Phase == "aggregate")
                Interlocked.Exchange(ref _rewrite, null)?.Invoke();
        }
    }
}
