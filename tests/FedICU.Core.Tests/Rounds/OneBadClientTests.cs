using CsCheck;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// One of several clients has a fault. By default the round is refused in a sentence that names the client; if every
/// policy drops clients, the result has the bits of a round without it.
/// </summary>
[Parallelizable(ParallelScope.Self)]
internal sealed class OneBadClientTests : FolderFixture
{
    private const int GoodClients = 4;

    // chosen: longer than the steps of a few milliseconds in which file systems store times
    private static readonly TimeSpan ClockTick = TimeSpan.FromMilliseconds(30);

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

    private static BadClient[] BadClients => BadClient.All;

    [TestCaseSource(nameof(BadClients))]
    public void AFaultNamesTheClientOrDropsIt(object kind)
    {
        var (name, fault, make) = (BadClient)kind;
        foreach (IAggregator aggregator in new IAggregator[] { new FedAvgAggregator(), new FedIcuAggregator() })
        {
            // by default, an update of another round is only noted
            RoundOptions strict = new() { Round = 7, OnStale = StalePolicy.Reject };
            RoundRejectedException refused =
                Assert.Throws<RoundRejectedException>(() => Models.Run(aggregator, BadClient.Global, Among(make), strict), name)!;
            Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((fault, "bad")), refused.Message);
            AssertReadable(refused.Message);
            AssertDropped(aggregator, Among(make), DropAll);
        }
    }

    [Test]
    public void SeveralBadClientsAreDroppedTogether() => Gen.Int[0, BadClient.All.Length - 1].Array[1, 3].Sample(chosen =>
    {
        BadClient[] kinds = BadClient.All;
        int place = 0;
        ClientUpdate[] bad = [.. chosen.Select(i => kinds[i].Make(Folder, $"bad {place++} {Guid.NewGuid():N}"))];
        AssertDropped(new FedAvgAggregator(), [.. bad, .. Good], DropAll with { Threads = 1 + chosen.Length % 3 });
    }, iter: 50, threads: 1);

    [Test]
    public void AFileThatIsRewrittenWhileItIsReadIsDropped([Values(false, true)] bool truncated, [Values(false, true)] bool timeSetBack)
    {
        if (timeSetBack && !OperatingSystem.IsLinux())
            Assert.Ignore("needs Linux, which tells when a file's status changed");
        string path = Folder["bad.safetensors"];
        Models.Random(9).SaveTo(TensorSink.ToFile(path));
        byte[] whole = File.ReadAllBytes(path);
        Thread.Sleep(ClockTick);
        DateTime written = File.GetLastWriteTimeUtc(path);
        RoundRejectedException refused = Assert.Throws<RoundRejectedException>(() => Run(new RoundOptions()))!;
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Changed, "bad")), refused.Message);
        Restore();
        Assert.Throws<RoundRejectedException>(() => Run(DropAll with { OnChanged = FaultPolicy.Reject }));
        Restore();
        AssertDropped(new FedAvgAggregator(), [ClientUpdate.FromFile("bad", path, 1), .. Good],
            DropAll with { Progress = new Rewriting(Rewrite), Threads = 1 });

        void Run(RoundOptions options) =>
            Models.Run(new FedAvgAggregator(), BadClient.Global, [ClientUpdate.FromFile("bad", path, 1), .. Good],
                options with { Progress = new Rewriting(Rewrite), Threads = 1 });

        void Restore()
        {
            File.WriteAllBytes(path, whole);
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
                File.SetLastWriteTimeUtc(path, written);
        }
    }

    [Test]
    public void AFileThatIsReplacedOrRemovedWhileItIsOpenIsReadUnchanged([Values(false, true)] bool removed)
    {
        string path = Folder["good.safetensors"];
        Models.Random(9).SaveTo(TensorSink.ToFile(path));
        (RoundReport report, MemorySink sink) =
            Models.Run(new FedAvgAggregator(), BadClient.Global, [ClientUpdate.FromFile("replaced", path, 1), .. Good], new RoundOptions
            {
                Threads = 1,
                Progress = new Rewriting(() =>
                {
                    if (removed)
                        File.Delete(path);
                    else
                        Models.Random(10).SaveTo(TensorSink.ToFile(path));
                }),
            });
        (_, MemorySink expected) =
            Models.Run(new FedAvgAggregator(), BadClient.Global, [ClientUpdate.FromTensors("replaced", Models.Random(9), 1), .. Good]);
        Models.AssertSameBits(sink, expected);
        Assert.That(report.Clients.All(client => client.Included));
    }

    [Test]
    public void AGlobalModelThatIsRewrittenIsRefused()
    {
        string path = Folder["global.safetensors"], output = Folder["next.safetensors"];
        BadClient.Global.SaveTo(TensorSink.ToFile(path));
        using TensorSource global = TensorSource.Open(path);
        var round = new AggregationRound(global,
            DropAll with { Progress = new Rewriting(() => File.SetLastWriteTimeUtc(path, DateTime.UnixEpoch)), Threads = 1 });
        foreach (ClientUpdate client in Good)
            round.Add(client);
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(round, TensorSink.ToFile(output)),
            Throws.InstanceOf<InvalidModelException>().With.Message.StartsWith($"'{path}' was changed or replaced while it was read"));
        Assert.That(File.Exists(output), Is.False);
    }

    [Test]
    public void AResultThatDoesNotFitIsTheFaultOfTheLargestValues()
    {
        static MemoryModel Column(Func<int, float> value) =>
            new() { { "w", [400, 1], Enumerable.Range(0, 400).Select(i => (Half)value(i)).ToArray() } };
        MemoryModel global = Column(_ => 0.5f);
        ClientUpdate[] good = [.. Enumerable.Range(0, 4)
            .Select(k => ClientUpdate.FromTensors($"good {k}", Column(i => i == 0 ? 1 : 0), 1))];
        // each value fits F16, but the norm that FedICU gives the column does not
        ClientUpdate bad = ClientUpdate.FromTensors("bad", Column(_ => 65504), 1);
        Assert.That(() => Models.Run(new FedIcuAggregator(), global, [bad, .. good]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contains("does not fit F16"));
        (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), global, [bad, .. good], DropAll);
        (_, MemorySink without) = Models.Run(new FedIcuAggregator(), global, good);
        Models.AssertSameBits(sink, without);
        Assert.That(report.Clients.Single(client => !client.Included).Reason,
            Does.StartWith("Client 'bad': tensor 'w' has the largest values, and "));
    }

    private static ClientUpdate[] Good =>
        [.. Enumerable.Range(0, GoodClients).Select(k => ClientUpdate.FromTensors($"good {k}", Models.Random(2 + k), 1 + k))];

    private ClientUpdate[] Among(Func<TempFolder, string, ClientUpdate> make) => [.. Good[..2], make(Folder, "bad"), .. Good[2..]];

    /// <summary>
    /// Asserts that a round has the bits of one without the clients whose ids begin with <c>bad</c>, and says why they
    /// were left out.
    /// </summary>
    private static void AssertDropped(IAggregator aggregator, ClientUpdate[] clients, RoundOptions options)
    {
        (RoundReport report, MemorySink sink) = Models.Run(aggregator, BadClient.Global, clients, options);
        (_, MemorySink without) = Models.Run(aggregator, BadClient.Global, Good, new RoundOptions { Round = 7 });
        Models.AssertSameBits(sink, without);
        foreach (ClientReport client in report.Clients)
        {
            Assert.That(client.Included, Is.EqualTo(!client.Id.StartsWith("bad", StringComparison.Ordinal)), client.Reason);
            Assert.That(client.Included || client.Reason!.Contains($"'{client.Id}'", StringComparison.Ordinal), client.Reason);
            AssertReadable(client.Reason ?? "");
        }

        Assert.That(RoundReport.FromJson(report.ToJson()).Clients.Select(client => client.Reason),
            Is.EqualTo(report.Clients.Select(client => client.Reason)));
    }

    private static void AssertReadable(string sentence)
    {
        Assert.That(sentence, Has.Length.LessThanOrEqualTo(1000));
        Assert.That(sentence.Any(c => char.IsControl(c) || c is '\u2028' or '\u2029' or (>= '\u202a' and <= '\u202e')), Is.False, sentence);
    }

    /// <summary>Runs an action once, when the first tensor has been aggregated.</summary>
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
