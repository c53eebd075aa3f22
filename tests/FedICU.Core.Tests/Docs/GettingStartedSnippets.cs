using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using FedICU.Compute;

namespace FedICU.Tests.Docs;

/// <summary>Runs what docs/getting-started.md shows.</summary>
internal sealed class GettingStartedSnippets : SnippetFixture
{
    private const string AdapterJson = """{"peft_type":"LORA","r":1,"lora_alpha":2,"target_modules":["q_proj"]}""";

    [Test]
    public async Task AFirstRoundFromFiles()
    {
        PutRound();

        #region first-round
        using TensorSource global = TensorSource.Open("global.safetensors");
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("clinic-a", "a.safetensors", examples: 1200),
            ClientUpdate.FromFile("clinic-b", "b.safetensors", examples: 300),
            ClientUpdate.FromFile("clinic-c", "c.safetensors", examples: 500),
        };
        var aggregator = new FedIcuAggregator();
        AggregationResult result = await aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        Console.WriteLine(result.Report);
        #endregion

        // the known answer of docs/algorithms.md
        double[] expected = [1.29591174, .67316738, .69688164, 2.31618198];
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(expected).Within(1e-6));
        Assert.That(result.Report.ToString().ReplaceLineEndings("\n"), Is.EqualTo(OutputOf("first-round")));
    }

    [Test]
    public async Task ARoundInMemory()
    {
        #region from-memory
        var global = new MemoryModel { { "layer.weight", [2, 2], new float[] { 1, 0, 0, 2 } } };
        var a = new MemoryModel { { "layer.weight", [2, 2], new float[] { 2, 0, 0, 2 } } };
        var b = new MemoryModel { { "layer.weight", [2, 2], new float[] { 1, 1, 1, 2 } } };

        var round = new AggregationRound(global)
        {
            ClientUpdate.FromTensors("a", a, examples: 100),
            ClientUpdate.FromTensors("b", b, examples: 300),
        };
        using var next = new MemorySink();
        await new FedAvgAggregator().AggregateAsync(round, next);
        float[] values = next.Model.ToArray<float>("layer.weight");
        #endregion

        Assert.That(values, Is.EqualTo(new float[] { 1.25f, .75f, .75f, 2 }));
    }

    [Test]
    public unsafe void MemoryOfAnotherFramework()
    {
        ushort* memory = (ushort*)NativeMemory.Alloc(4, sizeof(ushort));
        // 1, 0, 0, 2 in bf16
        (memory[0], memory[1], memory[2], memory[3]) = (0x3F80, 0, 0, 0x4000);
        nint address = (nint)memory;

        #region from-pointer
        var tensors = new MemoryModel();
        tensors.Add(new TensorInfo("layer.weight", DType.BF16, new TensorShape(2, 2)), address);
        ClientUpdate update = ClientUpdate.FromTensors("a", tensors, examples: 100);
        #endregion

        (_, MemorySink sink) = Models.Run(new FedAvgAggregator(), Models.Of("layer.weight", [2, 2], 0, 0, 0, 0), [update]);
        using (sink)
            Assert.That(sink.Model.ToArray<float>("layer.weight"), Is.EqualTo(new float[] { 1, 0, 0, 2 }));
        bool isSameMemory = tensors.TryPin(tensors.Tensors[0], out var pinned) && (nint)pinned.Pointer == address;
        Assert.That(isSameMemory, "nothing is copied");
        NativeMemory.Free(memory);
    }

    [Test]
    public async Task AnUpdateAsADelta()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        var difference = new MemoryModel { { "layer.weight", [2, 2], new float[] { 1, 0, 0, 0 } } };
        var round = new AggregationRound(global);

        #region delta
        string digest = ModelDigest.Compute(global);
        round.Add(ClientUpdate.FromTensors("a", difference, examples: 100, UpdateKind.Delta, baseDigest: digest));
        #endregion

        using var next = new MemorySink();
        await new FedAvgAggregator().AggregateAsync(round, next);
        Assert.That(next.Model.ToArray<float>("layer.weight"), Is.EqualTo(new float[] { 2, 0, 0, 2 }));
    }

    [Test]
    public void ASparseUpdateAndItsMomentum()
    {
        var random = new Random(1);
        float[] received = [.. Enumerable.Range(0, 4096).Select(_ => random.NextSingle() - .5f)];
        Models.Of("layer.weight", [64, 64], received).SaveTo(TensorSink.ToFile("global.safetensors"));
        for (int number = 0; number < 2; number++)
        {
            float[] trained = [.. received.Select(value => value + (random.NextSingle() - .5f) / 8)];
            Models.Of("layer.weight", [64, 64], trained).SaveTo(TensorSink.ToFile("trained.safetensors"));
            RunClient();
            using TensorSource update = TensorSource.Open("update.safetensors"), momentum = TensorSource.Open("momentum.safetensors");
            Assert.That(update.Tensors.Select(tensor => tensor.Name), Is.EqualTo(new[] { "layer.weight#values", "layer.weight#mask" }));
            Assert.That(update.Metadata[MetadataKeys.Update], Is.EqualTo("sparse"));
            Assert.That(momentum.Tensors, Has.Count.EqualTo(1));
            using TensorSource global = TensorSource.Open("global.safetensors");
            (RoundReport report, MemorySink sink) =
                Models.Run(new FedIcuAggregator(), global, [ClientUpdate.FromFile("a", "update.safetensors")]);
            sink.Dispose();
            Assert.That(report.Clients[0].BytesSent, Is.LessThan(report.Clients[0].BytesFull));
        }

        static void RunClient()
        {
            #region client
            using TensorSource global = TensorSource.Open("global.safetensors");
            using TensorSource trained = TensorSource.Open("trained.safetensors");

            var client = new FedIcuClient();
            MaskReport mask = client.CreateUpdate(global, trained, TensorSink.ToFile("update.safetensors"));
            Console.WriteLine(mask);
            #endregion

            Assert.That(mask.BytesSent, Is.LessThan(mask.BytesFull));
            #region momentum
            using TensorSource? momentum = File.Exists("momentum.safetensors") ? TensorSource.Open("momentum.safetensors") : null;
            TensorSink update = TensorSink.ToFile("update.safetensors"), newMomentum = TensorSink.ToFile("momentum.safetensors");
            client.CreateUpdate(global, trained, update, momentum, newMomentum);
            #endregion
        }
    }

    [Test]
    public async Task FaultsAndTheQuorum()
    {
        PutRound();
        Put("d.safetensors", float.NaN, 0, 0, 2);
        File.WriteAllText("e.safetensors", "no model");
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region policies
        var options = new RoundOptions
        {
            Quorum = 3,
            OnNonFinite = FaultPolicy.DropClient,
            OnUnreadable = FaultPolicy.DropClient,
        };
        var round = new AggregationRound(global, options);
        foreach (string id in (string[])["a", "b", "c", "d", "e"])
            round.Add(ClientUpdate.FromFile(id, id + ".safetensors"));

        AggregationResult result = await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        foreach (ClientReport client in result.Report.Clients.Where(client => !client.Included))
            Console.WriteLine(client.Reason);
        #endregion

        Assert.That(result.Report.Clients.Select(client => client.Included), Is.EqualTo(new[] { true, true, true, false, false }));
        IEnumerable<string?> reasons = result.Report.Clients.Select(client => client.Reason).Where(reason => reason is not null);
        Assert.That(string.Join('\n', reasons), Is.EqualTo(OutputOf("policies")));
    }

    [Test]
    public async Task ACollectedRound()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region collector
        using var collector = new RoundCollector(global, new RoundCollectorOptions
        {
            ExpectedClients = 3,
            MinimumClients = 2,
            Deadline = TimeSpan.FromHours(2),
        });

        // from any thread, as the uploads arrive
        collector.Add(ClientUpdate.FromFile("a", "a.safetensors"));
        collector.Add(ClientUpdate.FromFile("b", "b.safetensors"));
        collector.Add(ClientUpdate.FromFile("c", "c.safetensors"));

        AggregationRound round = await collector.CompleteAsync(new RoundOptions { Round = 7 });
        await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        Assert.That(() => collector.Add(ClientUpdate.FromFile("d", "d.safetensors")),
            Throws.TypeOf<RoundRejectedException>().With.Property("Fault").EqualTo(RoundFault.Late));
        using TensorSource next = TensorSource.Open("next.safetensors");
        Assert.That(next.Metadata[MetadataKeys.Round], Is.EqualTo("7"));
    }

    [Test]
    public async Task TheReport()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        ClientUpdate a = ClientUpdate.FromFile("a", "a.safetensors"), b = ClientUpdate.FromFile("b", "b.safetensors");

        #region report
        var round = new AggregationRound(global, new RoundOptions { Statistics = true }) { a, b };
        AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));

        File.WriteAllText("round.json", result.Report.ToJson());
        RoundReport report = RoundReport.FromJson(File.ReadAllText("round.json"));
        foreach (TensorClientReport client in report.Tensors[0].Clients)
            Console.WriteLine($"{client.Id}: weight {client.Weight}, cosine to the mean update {client.Cosine}");
        #endregion

        Assert.That(report.ToJson(), Is.EqualTo(result.Report.ToJson()));
        Assert.That(report.Tensors[0].Clients.Select(client => client.Cosine), Has.All.Not.Null);
    }

    [Test]
    public async Task ProgressAndCancellation()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        var steps = new BlockingCollection<RoundProgress>();

        #region progress
        using var stop = new CancellationTokenSource(TimeSpan.FromMinutes(10));
        var options = new RoundOptions { Progress = new Progress<RoundProgress>(steps.Add) };
        var round = new AggregationRound(global, options) { ClientUpdate.FromFile("a", "a.safetensors") };
        await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"), stop.Token);
        #endregion

        Assert.That(steps.TryTake(out RoundProgress step, TimeSpan.FromSeconds(30)));
        Assert.That(step, Is.EqualTo(new RoundProgress("aggregate", "layer.weight", 16, 16)));
        stop.Cancel();
        Assert.That(
            async () => await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile("other.safetensors"), stop.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(File.Exists("other.safetensors"), Is.False);
    }

    [Test]
    public async Task AnAdapterFolder()
    {
        foreach (string folder in (string[])["global", "a", "b"])
        {
            Directory.CreateDirectory(folder);
            File.WriteAllText(Path.Combine(folder, "adapter_config.json"), AdapterJson);
            Put(Path.Combine(folder, "adapter_model.safetensors"), folder.Length, 0, 0, 2);
        }

        #region adapter
        using PeftAdapter global = PeftAdapter.Open("global");
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a"),
            ClientUpdate.FromFile("b", "b"),
        };
        await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToAdapterFolder("next", global.Config));
        #endregion

        Assert.That(File.ReadAllText("next/adapter_config.json"), Is.EqualTo(AdapterJson));
        Assert.That(ValuesOf("next"), Is.EqualTo(new double[] { 1, 0, 0, 2 }));
    }

    [Test]
    public async Task AShardedModel()
    {
        Directory.CreateDirectory("base");
        Put("base/model-00001-of-00001.safetensors", 1, 0, 0, 2);
        File.WriteAllText(
            "base/model.safetensors.index.json",
            """{"metadata":{"total_size":16},"weight_map":{"layer.weight":"model-00001-of-00001.safetensors"}}""");
        PutRound();

        #region sharded
        using ShardedModel global = ShardedModel.Open("base/model.safetensors.index.json");
        var round = new AggregationRound(global) { ClientUpdate.FromFile("a", "a.safetensors") };
        await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToShardedFolder("next", global));
        #endregion

        Assert.That(ValuesOf("next/model.safetensors.index.json"), Is.EqualTo(new double[] { 2, 0, 0, 2 }));
    }

    [Test]
    public void CopyingAModel()
    {
        PutRound();

        #region save
        using TensorSource model = TensorSource.Open("global.safetensors");
        model.SaveTo(TensorSink.To("folder", model));
        #endregion

        Assert.That(ValuesOf("folder/model.safetensors"), Is.EqualTo(new double[] { 1, 0, 0, 2 }));
    }

    [Test]
    public async Task ARefusedRoundIsCaught()
    {
        PutRound();
        Models.Of("layer.weight", [4], 1, 2, 3, 4).SaveTo(TensorSink.ToFile("b.safetensors"));
        using TensorSource global = TensorSource.Open("global.safetensors");
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors"),
            ClientUpdate.FromFile("b", "b.safetensors"),
        };
        var printed = new StringWriter();
        TextWriter console = Console.Out;
        Console.SetOut(printed);
        try
        {
            #region errors
            try
            {
                await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
            }
            catch (RoundRejectedException refusal) when (refusal.ClientId is not null)
            {
                Console.WriteLine($"{refusal.Fault}: {refusal.Message}");
            }
            catch (FedIcuException refusal)
            {
                Console.WriteLine(refusal.Message);
            }
            #endregion
        }
        finally
        {
            Console.SetOut(console);
        }

        Assert.That(printed.ToString().TrimEnd(), Is.EqualTo(OutputOf("errors")));
        Assert.That(File.Exists("next.safetensors"), Is.False);
    }

    [Test]
    public async Task ThreadsAndBackends()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region backend
        var options = new RoundOptions { Threads = 4, Backend = new SimdBackend(), OutputDType = DType.BF16 };
        var round = new AggregationRound(global, options) { ClientUpdate.FromFile("a", "a.safetensors") };
        await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));

        VerificationResult verified = BackendVerification.Run(new SimdBackend());
        Console.WriteLine(verified.Passed);
        #endregion

        Assert.That(verified.Passed);
        using TensorSource next = TensorSource.Open("next.safetensors");
        Assert.That(next.Tensors[0].DType, Is.EqualTo(DType.BF16));
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new double[] { 2, 0, 0, 2 }));
    }

    [Test]
    public async Task MappedFiles()
    {
        PutRound();

        #region mapped
        using TensorSource global = TensorSource.Open("global.safetensors", FileAccessMode.Mapped);
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors", access: FileAccessMode.Mapped),
        };
        await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new double[] { 2, 0, 0, 2 }));
    }

    [Test]
    public async Task ARoundOverHours()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region session
        var options = new RoundOptions { Round = 7 };
        using AggregationSession session = AggregationSession.OpenOrCreate("round-7", global, options);

        // from any thread, as the uploads arrive, before a restart of the server or after it
        await session.AddAsync(ClientUpdate.FromFile("c", "c.safetensors", examples: 500));
        await session.AddAsync(ClientUpdate.FromFile("a", "a.safetensors", examples: 1200));
        await session.AddAsync(ClientUpdate.FromFile("b", "b.safetensors", examples: 300));
        session.Retract("b");

        await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.ToFile("next.safetensors"));
        session.Delete();
        #endregion

        double[] expected = [(2 * 1200 - 500) / 1700.0, 0, 0, (2 * 1200 + 3 * 500) / 1700.0];
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(expected).Within(1e-6));
        Assert.That(Directory.Exists("round-7"), Is.False);
    }

    [Test]
    public async Task ACollectorOverARestart()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        using (AggregationSession before = AggregationSession.Create("round-7", global, new RoundOptions { Round = 7 }))
        {
            await before.AddAsync(ClientUpdate.FromFile("b", "b.safetensors"));
            await before.AddAsync(ClientUpdate.FromFile("a", "a.safetensors"));
        }

        var options = new RoundOptions { Round = 7 };

        #region session-collector
        using AggregationSession session = AggregationSession.OpenOrCreate("round-7", global, options);
        using RoundCollector collector = RoundCollector.Over(session, new RoundCollectorOptions
        {
            ExpectedClients = 3,
            MinimumClients = 2,
            Deadline = TimeSpan.FromHours(2),
        });

        // from any thread, as the uploads arrive
        await collector.AddAsync(ClientUpdate.FromFile("c", "c.safetensors"));

        AggregationRound round = await collector.CompleteAsync();
        await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        session.Delete();
        #endregion

        Assert.That((string.Join(',', round.Updates.Select(update => update.Id)), round.Options.Round), Is.EqualTo(("a,b,c", 7L)));
    }

    [Test]
    public async Task AnUploadAsAStream()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");
        using AggregationSession session = AggregationSession.Create("round-7", global);
        using FileStream upload = File.OpenRead("a.safetensors");

        #region session-stream
        try
        {
            UpdateReceipt receipt = await session.AddAsync("d", upload, examples: 500, maxBytes: 1 << 20);
            Console.WriteLine(receipt.IsRepeated ? "We had this update already." : "Thank you.");
        }
        catch (RoundRejectedException refusal)
        {
            Console.WriteLine(refusal.ClientMessage);
        }
        #endregion

        Assert.That(session.Updates.Single().Id, Is.EqualTo("d"));
    }

    [Test]
    public async Task WeightsAndValuesOnArrival()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region session-options
        using AggregationSession session = AggregationSession.OpenOrCreate(
            "round-7", global, new RoundOptions { Round = 7 }, new SessionOptions { RequireWeights = true, CheckValues = true });
        try
        {
            await session.AddAsync(ClientUpdate.FromFile("a", "a.safetensors"));
        }
        catch (RoundRejectedException refusal)
        {
            Console.WriteLine($"{refusal.Fault}: {refusal.Message}");
        }
        #endregion

        Assert.That(session.Updates, Is.Empty);
        RoundRejectedException refused = Assert.ThrowsAsync<RoundRejectedException>(
            () => session.AddAsync(ClientUpdate.FromFile("a", "a.safetensors")))!;
        Assert.That($"{refused.Fault}: {refused.Message}", Is.EqualTo(OutputOf("session-options")));
    }

    [Test]
    public async Task OptionsByName()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region by-name
        ConfiguredRound configured = StrategyRegistry.Default.Create(
            "fedicu", [new("tau", "0.2"), new("on-nonfinite", "drop-client"), new("quorum", "2")]);
        var round = new AggregationRound(global, configured.Options);
        foreach (string id in (string[])["a", "b", "c"])
            round.Add(ClientUpdate.FromFile(id, id + ".safetensors"));
        await configured.Aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        Assert.That(((FedIcu)configured.Aggregator.Stages[0]).Options.Tau, Is.EqualTo(.2));
        Assert.That(ValuesOf("next.safetensors"), Has.Length.EqualTo(4));
    }

    [Test]
    public async Task CombinedRules()
    {
        PutRound();

        #region combined
        IAggregator robust = new AggregatorBuilder().Weigh(new Krum()).Then(new FedAdam()).Build();
        #endregion

        Assert.That(robust.Name, Is.EqualTo("krum,fedadam"));
        await ServerState();
        Put("global.safetensors", [.. ValuesOf("next.safetensors").Select(value => (float)value)]);
        await ServerState();
        using TensorSource state = TensorSource.Open("server.state.safetensors");
        Assert.That(state.Metadata["rounds"], Is.EqualTo("2"));

        static async Task ServerState()
        {
            #region server-state
            using TensorSource global = TensorSource.Open("global.safetensors");
            var server = new FedAdamAggregator(new FedAdamOptions { ServerLearningRate = 0.05 });
            var round = new AggregationRound(global) { State = RoundState.InFile("server.state.safetensors") };
            foreach (string id in (string[])["a", "b", "c"])
                round.Add(ClientUpdate.FromFile(id, id + ".safetensors"));
            await server.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
            #endregion
        }
    }

    [Test]
    public async Task WhatClientsState()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region statements
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("a", "a.safetensors", statements: new ClientStatements { LocalSteps = 10 }),
            ClientUpdate.FromFile("b", "b.safetensors", statements: new ClientStatements { LocalSteps = 40 }),
        };
        await new FedNovaAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        #endregion

        // t = 25: 25 (d_a / 10 + d_b / 40) / 2 is added
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new[] { 2.25, 0.3125, 0.3125, 2 }).Within(1e-6));
    }

    [Test]
    public async Task PrivateRounds()
    {
        PutRound();
        using TensorSource global = TensorSource.Open("global.safetensors");

        #region private
        (double epsilon, _) = PrivacyAccountant.ComputeEpsilon(samplingRate: 0.01, noiseMultiplier: 1.1, rounds: 1000, delta: 1e-5);
        var server = new DpFedAvgAggregator(new DpFedAvgOptions { ClipNorm = 1, NoiseMultiplier = 1.1, ExpectedClients = 100 });
        var round = new AggregationRound(global) { State = RoundState.InFile("server.state.safetensors") };
        #endregion

        Assert.That(epsilon, Is.EqualTo(1.71).Within(0.005));
        round.Add(ClientUpdate.FromFile("a", "a.safetensors"));
        await server.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        using TensorSource state = TensorSource.Open("server.state.safetensors");
        Assert.That(state.Metadata["rounds"], Is.EqualTo("1"));
    }

    private static string OutputOf(string name) => OutputOf("docs/getting-started.md", name);
}
