using System.Text;
using FedICU.Errors;
using FedICU.Model;

namespace FedICU.Tests;

/// <summary>The sentence for clients: of every fault, without the server's paths and other clients' ids.</summary>
internal sealed class ClientMessageTests : SessionFixture
{
    private const string Config = """{"peft_type":"LORA","r":1,"lora_alpha":2}""";

    // a folder of the server whose name tells something, and another client's id that does too
    private const string Secret = "secret-hospital";
    private const string Other = "other-client";

    private string Server => Folder[Secret];

    private ClientUpdate Put(TensorSource model, string id = "a", double? examples = null, UpdateKind? kind = null, string? name = null)
    {
        string path = Path.Combine(Server, (name ?? "upload") + ".safetensors");
        model.SaveTo(TensorSink.ToFile(path));
        return ClientUpdate.FromFile(id, path, examples, kind: kind);
    }

    private static void CheckMessage(RoundRejectedException refused, string id)
    {
        Assert.That(refused.ClientMessage, Does.StartWith($"Client '{id}'").Or.StartWith("The round is refused: "));
        Assert.That(refused.ClientMessage, Does.Not.Contain(Secret).And.Not.Contain(Other).And.Not.Contain(Path.GetTempPath()));
        Assert.That(refused.ClientMessage, Does.EndWith("."));
    }

    private static Dictionary<string, string> Metadata(string key, string value) => new() { [key] = value };

    /// <summary>Makes each fault that a session can refuse, with files and streams.</summary>
    [Test]
    public void NoFaultShowsAPathOrAnotherClient([Values] bool relative)
    {
        string current = Environment.CurrentDirectory;
        Directory.CreateDirectory(Server);
        if (relative)
            Environment.CurrentDirectory = Folder.FullName;
        try
        {
            string place = relative ? Path.Combine(Secret, "session") : Path.Combine(Server, "session");
            var options = new RoundOptions { Round = 7, OnStale = StalePolicy.DropClient };
            var faults = new HashSet<RoundFault>();
            foreach (Func<string, ClientUpdate> make in Faulty(relative ? Secret : Server))
            {
                foreach (string id in (string[])["a", "it's ('me'): /", "client 'x'"])
                {
                    using AggregationSession session =
                        AggregationSession.Create(place, Global, options, new SessionOptions { CheckValues = true });
                    session.AddAsync(ClientUpdate.FromTensors(Other, Models.Random(9), 1)).GetAwaiter().GetResult();
                    ClientUpdate update = make(id);
                    var refused = Assert.ThrowsAsync<RoundRejectedException>(() => session.AddAsync(update))!;
                    CheckMessage(refused, id);
                    faults.Add(refused.Fault);
                    // a stream's kind is in its metadata alone
                    if (update is { Kind: null, Path: { } path } && File.Exists(path))
                    {
                        var streamed = Assert.ThrowsAsync<RoundRejectedException>(async () =>
                        {
                            await using FileStream upload = File.OpenRead(path);
                            await session.AddAsync(id, upload, update.Weight, maxBytes: 1 << 20, update.Statements);
                        })!;
                        CheckMessage(streamed, id);
                    }

                    session.Delete();
                }
            }

            Assert.That(faults, Is.EquivalentTo(new[]
            {
                RoundFault.NonFinite, RoundFault.Missing, RoundFault.Extra, RoundFault.Shape, RoundFault.DType, RoundFault.Base,
                RoundFault.Unreadable, RoundFault.Weight, RoundFault.Quantized, RoundFault.Stale, RoundFault.Statement,
            }));
        }
        finally
        {
            Environment.CurrentDirectory = current;
        }
    }

    private IEnumerable<Func<string, ClientUpdate>> Faulty(string server)
    {
        MemoryModel random = Models.Random(2);
        yield return id => Put(With("norm.weight", info => info with { Shape = new TensorShape(32) }), id, 1);
        yield return id => Put(With("norm.weight", info => info with { DType = DType.I32 }), id, 1);
        yield return id => Put(Models.Of("x", [1], 1), id, 1);
        yield return id => Put(Models.Of("/srv/" + Secret + "/'x'", [1], 1), id, 1);
        yield return id => Put(Plus(("more", [1], 1f)), id, 1);
        yield return id => Put(NonFinite(), id, 1);
        yield return id => Put(Models.Random(2, metadata: Metadata("num_examples", "many")), id);
        yield return id => Put(Models.Random(2, metadata: Metadata("num_examples", "-1")), id);
        yield return id => Put(random, id);
        yield return id => Put(random, id, -1);
        yield return id => Put(random, id, 1, UpdateKind.Sparse);
        yield return id => Put(Models.Random(2, metadata: Metadata("fedicu.base", "sha256:0")), id, 1);
        yield return id => Put(Models.Random(2, metadata: Metadata("fedicu.update", "half")), id, 1);
        yield return id => Put(Models.Random(2, metadata: Metadata("fedicu.state", "fedadam")), id, 1);
        yield return id => Put(Models.Random(2, metadata: Metadata("round", "6")), id, 1);
        yield return id => Put(Quantized(), id, 1);
        yield return id => ClientUpdate.FromFile(id, Path.Combine(server, "missing.safetensors"), 1);
        yield return id => ClientUpdate.FromFile(id, server, 1);
        yield return id => ClientUpdate.FromTensors(id, random, 1, statements: new ClientStatements { Control = server });
        yield return id =>
        {
            string path = Path.Combine(server, "text.safetensors");
            File.WriteAllText(path, "no model");
            return ClientUpdate.FromFile(id, path, 1);
        };
        yield return id =>
        {
            string path = Path.Combine(server, new string('x', 240) + ".safetensors");
            File.WriteAllBytes(path, [255, 0, 0, 0, 0, 0, 0, 0, .. Encoding.UTF8.GetBytes("{}")]);
            return ClientUpdate.FromFile(id, path, 1);
        };
    }

    [Test]
    public void AnAdaptersFaultShowsNoPath()
    {
        foreach ((string name, string config) in (IEnumerable<(string, string)>)
            [("global", Config), (Secret, Config.Replace("\"r\":1", "\"r\":4", StringComparison.Ordinal))])
            Global.SaveTo(TensorSink.ToAdapterFolder(Folder[name], PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(config), "test")));
        using PeftAdapter global = PeftAdapter.Open(Folder["global"]);
        using AggregationSession session = AggregationSession.Create(Place, global);
        var refused = Assert.ThrowsAsync<RoundRejectedException>(() => session.AddAsync(ClientUpdate.FromFile("a", Folder[Secret])))!;
        Assert.That(refused.Fault, Is.EqualTo(RoundFault.Config));
        CheckMessage(refused, "a");
        Assert.That(refused.ClientMessage, Does.Contain("disagrees with the global adapter's: r "), "expected and found stay");
    }

    [TestCase("Client 'a' ('/srv/x/a.safetensors'): tensor 'w' has shape [2]; [3] was expected.",
        "Client 'a': tensor 'w' has shape [2]; [3] was expected.")]
    [TestCase("Client 'a': '/srv/x/a.safetensors' is empty.", "Client 'a': the file is empty.")]
    [TestCase("Client 'a': 'x/update-1' cannot be read: permission denied.", "Client 'a': the file cannot be read: permission denied.")]
    [TestCase("Client 'a': tensor 'w' differs from client 'b'.", "Client 'a': a tensor has another shape than in the global model.")]
    [TestCase("Client 'a': it's /srv/x.", "Client 'a': a tensor has another shape than in the global model.")]
    [TestCase("Something about /srv/x.", "Client 'a': a tensor has another shape than in the global model.")]
    [TestCase("Client 'a': tensor 'w' is at C:\\x.", "Client 'a': a tensor has another shape than in the global model.")]
    public void TheSentenceKeepsWhatConcernsTheClient(string message, string expected) =>
        Assert.That(new RoundRejectedException(RoundFault.Shape, message, "a", "w").ClientMessage, Is.EqualTo(expected));

    [Test]
    public void ATensorsNameWithSeparatorsStays() => Assert.That(
        new RoundRejectedException(RoundFault.Shape, "Client 'a': tensor 'layers/0' has shape [2].", "a", "layers/0").ClientMessage,
        Is.EqualTo("Client 'a': tensor 'layers/0' has shape [2]."));

    [TestCase("Client 'a' ('/srv/x/4.safetensors') states none, but client 'b' does.", "Client 'a' states none, but client 'b' does.")]
    [TestCase("'/srv/x/state': the state is of round 5.", "the file: the state is of round 5.")]
    [TestCase("Client 'a': tensor 'layers/0' has shape [2].", "Client 'a': tensor 'layers/0' has shape [2].")]
    [TestCase("It is in /srv/x.", null)]
    public void TheCallerOfARoundSeesNoPaths(string message, string? expected) =>
        Assert.That(ClientSentence.RemovePlaces(message, "a", "layers/0"), Is.EqualTo(expected));

    [Test]
    public void ACutSentenceIsNotShown() =>
        Assert.That(ClientSentence.RemovePlaces($"'/srv/{new string('x', 2000)}' is broken.", null, null), Is.Null);

    [Test]
    public void EveryFaultHasAGeneralSentence()
    {
        foreach (RoundFault fault in Enum.GetValues<RoundFault>())
        {
            var ofClient = new RoundRejectedException(fault, "See '/srv/x'.", "a");
            var ofRound = new RoundRejectedException(fault, "Client 'b' is at '/srv/x'.");
            Assert.That(ofClient.ClientMessage, Does.Match(@"^Client 'a': [a-zA-Z'\- ]+\.$"));
            Assert.That(ofRound.ClientMessage, Does.Match(@"^The round is refused: [a-zA-Z'\- ]+\.$"), ofRound.ClientMessage);
        }
    }

    private static MemoryModel With(string name, Func<TensorInfo, TensorInfo> change)
    {
        var model = new MemoryModel();
        foreach (TensorInfo tensor in Global.Tensors)
        {
            TensorInfo info = tensor.Name == name ? change(tensor) : tensor;
            model.Add(info, new byte[info.ByteLength]);
        }

        return model;
    }

    private static MemoryModel Plus((string Name, long[] Shape, float Value) extra)
    {
        MemoryModel model = With("", info => info);
        model.Add(extra.Name, extra.Shape, [extra.Value]);
        return model;
    }

    private static MemoryModel NonFinite()
    {
        var model = new MemoryModel();
        foreach (TensorInfo tensor in Global.Tensors)
        {
            byte[] bytes = new byte[tensor.ByteLength];
            bytes.AsSpan().Fill(0xff);
            model.Add(tensor, bytes);
        }

        return model;
    }

    private static MemoryModel Quantized()
    {
        MemoryModel model = With("", info => info);
        model.Add("q.qweight", [2], new int[2]);
        model.Add("q.scales", [2], new float[2]);
        return model;
    }
}
