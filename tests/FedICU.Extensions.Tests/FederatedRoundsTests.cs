using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>The rounds of a server: from upload to the next global model, over restarts and refusals.</summary>
internal sealed class FederatedRoundsTests : RoundsFixture
{
    /// <summary>
    /// Three rounds with a restart before each update give the bits of rounds in memory; the rule's state goes on too.
    /// </summary>
    [TestCase("fedavg"), TestCase("median"), TestCase("fedadam")]
    public async Task RestartsInMidRoundGiveTheBitsOfRoundsInMemory(string strategy)
    {
        List<byte[]> expected = Expect(strategy, 3);
        for (int round = 1; round <= 3; round++)
        {
            foreach (int client in (int[])[3, 1, 2])
            {
                using IHost host = await StartAsync(strategy);
                Assert.That(Of(host).Status.Number, Is.EqualTo(round));
                Assert.That((await SendAsync(host, round, client)).IsRepeated, Is.False);
                Assert.That(Of(host).Status.Clients.Count, Is.EqualTo(client switch { 3 => 1, 1 => 2, _ => 3 }).Or.Zero);
                if (client == 2)
                    await Of(host).WaitForRoundAsync(round + 1);
                await host.StopAsync();
            }
        }

        using IHost last = await StartAsync(strategy);
        Assert.That(Enumerable.Range(2, 3).Select(round => Bits(Of(last).FindModel(round)!)).ToArray(), Is.EqualTo(expected));
        Assert.That(Of(last).Finished.Select(round => (round.Number, round.Clients, round.Included)),
            Is.EqualTo(new[] { (1L, 3, 3), (2L, 3, 3), (3L, 3, 3) }));
        RoundReport report = RoundReport.FromJson(await System.IO.File.ReadAllTextAsync(Of(last).Finished[1].ReportPath));
        Assert.That((report.Round, report.Strategy), Is.EqualTo((2L, strategy)));
        Assert.That(Of(last).FindModel(1), Is.Null, "three models are kept");
        Assert.That(Directory.Exists(Path.Combine(Place, "3", "session")), Is.False, "sessions of rounds that are over are removed");
    }

    /// <summary>
    /// A crash between the last update and the next model repeats the round; what the crash left does not count.
    /// </summary>
    [Test]
    public async Task ACrashDuringTheAggregationRepeatsTheRound([Values("fedavg", "fedadam")] string strategy)
    {
        List<byte[]> expected = Expect(strategy, 2);
        using (IHost host = await StartAsync(strategy))
        {
            for (int client = 1; client <= 3; client++)
                await SendAsync(host, 1, client);
            await Of(host).WaitForRoundAsync(2);
            for (int client = 1; client <= 2; client++)
                await SendAsync(host, 2, client);
            await host.StopAsync();
        }

        // as if a process had ended after it wrote the report, the state and the model of the next round
        System.IO.File.WriteAllText(Path.Combine(Place, "2", "report.json"), "half a report");
        Directory.CreateDirectory(Path.Combine(Place, ".next"));
        Rounds.Model(5).SaveTo(TensorSink.ToFile(Path.Combine(Place, ".next", "global.safetensors")));
        System.IO.File.WriteAllText(Path.Combine(Place, ".next", "state.safetensors"), "half a state");
        using IHost again = await StartAsync(strategy);
        await SendAsync(again, 2, 3);
        await Of(again).WaitForRoundAsync(3);
        Assert.That(Bits(Of(again).FindModel(3)!), Is.EqualTo(expected[1]));
        Assert.That(RoundReport.FromJson(System.IO.File.ReadAllText(Of(again).Finished[1].ReportPath)).Round, Is.EqualTo(2));
    }

    [Test]
    public async Task FaultsAreToldApart()
    {
        using IHost host = await StartAsync(more: options => options.LastRound = 1);
        FederatedRounds rounds = Of(host);
        await SendAsync(host, 1, 1);
        Assert.That((await SendAsync(host, 1, 1)).IsRepeated);
        await RefuseAsync(RoundFault.Duplicate, 1, "client-1", File(Rounds.Model(7)));
        await RefuseAsync(RoundFault.Stale, 2, "client-2", File(Rounds.Model(7)));
        await RefuseAsync(RoundFault.Late, 0, "client-2", File(Rounds.Model(7)));
        await RefuseAsync(RoundFault.Unreadable, 1, "client-2", "garbage"u8.ToArray());
        await RefuseAsync(RoundFault.Missing, 1, "client-2", File(new MemoryModel { { "x", [1], new float[1] } }));
        await RefuseAsync(RoundFault.NonFinite, 1, "client-2", File(new MemoryModel
        {
            { "layer.weight", [6, 5], [.. Enumerable.Repeat(float.NaN, 30)] },
            { "layer.bias", [6], new float[6] },
        }));
        await RefuseAsync(RoundFault.TooLarge, 1, "client-2", new byte[3 << 20]);
        Assert.That(rounds.Status.Clients, Is.EqualTo(new[] { "client-1" }));
        await SendAsync(host, 1, 2);
        await SendAsync(host, 1, 3);
        await rounds.WaitForRoundAsync(2);
        Assert.That(rounds.Status, Has.Property("IsFinished").True.And.Property("IsOpen").False);
        await RefuseAsync(RoundFault.Late, 1, "client-4", File(Rounds.Model(7)));
        await RefuseAsync(RoundFault.Late, 2, "client-4", File(Rounds.Model(7)));
        await host.StopAsync();
        Assert.That(() => rounds.Status, Throws.InvalidOperationException.With.Message.EqualTo("The rounds are not running."));

        async Task RefuseAsync(RoundFault fault, long round, string client, byte[] bytes)
        {
            RoundRejectedException refused = Assert.ThrowsAsync<RoundRejectedException>(
                () => rounds.AddAsync(round, client, new MemoryStream(bytes), 1))!;
            Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((fault, client)), refused.Message);
            Assert.That(refused.ClientMessage, Does.Not.Contain(Folder.FullName));
            await Task.CompletedTask;
        }
    }

    [Test]
    public async Task ARoundWithTooFewClientsAtItsDeadlineBeginsAgain()
    {
        using IHost host = await StartAsync(more: options =>
        {
            options.MinimumClients = 2;
            options.Deadline = TimeSpan.FromMilliseconds(300);
        });
        FederatedRounds rounds = Of(host);
        await SendAsync(host, 1, 1);
        while (rounds.Status.LastFailure is null)
            await Task.Delay(5);
        Assert.That(rounds.Status.LastFailure, Is.EqualTo("At the deadline 1 of 3 expected clients had sent an update; at least 2 must.")
            .Or.EqualTo("At the deadline 0 of 3 expected clients had sent an update; at least 2 must."));
        // the clients send again, until two are there at a deadline
        while (rounds.Status.Number == 1)
        {
            foreach (int client in (int[])[1, 2])
            {
                try
                {
                    await SendAsync(host, 1, client);
                }
                catch (RoundRejectedException e) when (e.Fault == RoundFault.Late)
                {
                    await Task.Delay(5);
                }
            }
        }

        Assert.That(rounds.Finished.Single().Clients, Is.EqualTo(2));
    }

    /// <summary>A strategy that throws stops no server: the updates stay, and the round is tried again.</summary>
    [Test]
    public async Task AnOwnStrategyThatFailsIsTriedAgain()
    {
        int attempts = 0;
        using IHost host = await StartAsync(
            "failing-once,fedavg",
            options => options.RetryDelay = TimeSpan.FromMilliseconds(20),
            services => services.AddStrategy("failing-once", "Fails at first.", "", _ => () => [new FailingOnce(() => ++attempts == 1)]));
        for (int client = 1; client <= 3; client++)
            await SendAsync(host, 1, client);
        await Of(host).WaitForRoundAsync(2);
        Assert.That(attempts, Is.EqualTo(2));
        Assert.That(Of(host).Status.LastFailure, Is.Null);
        Assert.That(Bits(Of(host).FindModel(2)!), Is.EqualTo(Expect("fedavg", 1)[0]));
    }

    /// <summary>
    /// A global model that is an adapter stays one, with its configuration; clients send the weights alone.
    /// </summary>
    [Test]
    public async Task AnAdapterStaysAnAdapter()
    {
        byte[] config = """{"peft_type":"LORA","r":1,"lora_alpha":2}"""u8.ToArray();
        CreateAdapter(0).SaveTo(TensorSink.ToAdapterFolder(Folder["adapter"], PeftAdapterConfig.Parse(config, "test")));
        using IHost host = await StartAsync(more: options => (options.InitialModel, options.ExpectedClients) = (Folder["adapter"], 2));
        await Of(host).AddAsync(1, "a", new MemoryStream(File(CreateAdapter(1))), 1);
        await Of(host).AddAsync(1, "b", new MemoryStream(File(CreateAdapter(3))), 1);
        await Of(host).WaitForRoundAsync(2);
        string next = Of(host).FindModel(2)!;
        Assert.That(System.IO.File.ReadAllBytes(Path.Combine(next, "adapter_config.json")), Is.EqualTo(config));
        Assert.That(Bits(next), Is.EqualTo(Rounds.Bytes(CreateAdapter(2))));

        static MemoryModel CreateAdapter(float value) => new()
        {
            { "base.m.lora_A.weight", [1, 3], [value, value, value] },
            { "base.m.lora_B.weight", [2, 1], [value, value] },
        };
    }

    /// <summary>What happens is logged, and a client's id cannot forge a line of the log.</summary>
    [Test]
    public async Task TheLogTellsWhatHappens()
    {
        var log = new RoundsLog();
        using (IHost host = await StartAsync(
            more: options => (options.ExpectedClients, options.LastRound) = (1, 1),
            add: services => services.AddSingleton<ILoggerProvider>(log)))
        {
            Assert.That(() => Of(host).AddAsync(1, "a\nb", new MemoryStream([1])), Throws.TypeOf<RoundRejectedException>());
            await Of(host).AddAsync(1, "a\nb", new MemoryStream(File(Rounds.Model(1))));
            await Of(host).WaitForRoundAsync(2);
            await host.StopAsync();
        }

        // the round may be over before the arrival of its last update is logged
        Assert.That(log.Lines.Where(line => !line.Contains(": an update was refused (Unreadable): ")), Is.EquivalentTo(new[]
        {
            "Information Round 1 takes updates; 0 of 1 clients have sent one.",
            "Information Round 1: client a\\u000ab sent its update; 1 of 1 clients have sent one.",
            "Information Round 1 is over: 1 of 1 clients are in the new global model.",
            "Information Round 1 was the last one.",
        }));
        Assert.That(log.Lines, Has.One.StartsWith("Warning Round 1: an update was refused (Unreadable): Client 'a\\u000ab'"));
    }

    [Test]
    public async Task AFolderBelongsToOneServer()
    {
        using IHost host = await StartAsync();
        Assert.That(
            async () => await StartAsync(), Throws.TypeOf<FedIcuException>().With.Message.Contains("another server may have locked"));
        await host.StopAsync();
        using IHost next = await StartAsync();
    }

    [Test]
    public void AFolderWithoutRoundsNeedsAModel() => Assert.That(
        async () => await StartAsync(more: options => options.InitialModel = null),
        Throws.TypeOf<FedIcuException>().With.Message.EqualTo(
            $"The folder '{Place}' holds no rounds, and no initial model is given; one was expected."));

    [Test]
    public void AllInvalidOptionsAreReportedAtTheStart()
    {
        using IHost host = Rounds.CreateHost(services => services.AddFedIcuRounds(Rounds.Configuration(
            ("MinimumClients", "2"), ("Deadline", "soon"), ("LastRound", "0"), ("MaxUpdateBytes", "-1"), ("KeptModels", "0"),
            ("ListedRounds", "0"), ("RetryDelay", "00:00:00"), ("CheckValues", "maybe"), ("Aggregator", "lora"), ("Secret", "1"))));
        OptionsValidationException refused = Assert.ThrowsAsync<OptionsValidationException>(() => host.StartAsync())!;
        Assert.That(refused.Failures, Is.EqualTo(new[]
        {
            "Rounds: Option 'CheckValues' is 'maybe'; false or true was expected.",
            "Rounds: Option 'Deadline' is 'soon'; a time such as 02:00:00 was expected.",
            "Rounds: Option 'Secret' is unknown; Folder, InitialModel, Aggregator, ExpectedClients, MinimumClients, Deadline, LastRound, " +
                "MaxUpdateBytes, RequireWeights, CheckValues, DropFaultyClients, KeptModels, ListedRounds, RetryDelay are known here.",
            "Rounds: The folder of the rounds is missing; a path was expected.",
            "Rounds: The number of expected clients is 0; at least 1 was expected.",
            "Rounds: The minimum number of clients is 2; at least 1 and at most 0, the number of expected clients, was expected.",
            "Rounds: The last round is 0; at least 1 was expected.",
            "Rounds: The most bytes of an update are -1; at least 1 was expected.",
            "Rounds: The number of kept models is 0; at least 1 was expected.",
            "Rounds: The number of listed rounds is 0; at least 1 was expected.",
            "Rounds: The delay before a retry is 00:00:00; more than 0 was expected.",
            "Rounds: The aggregator 'lora' is unknown; AddFedIcu(\"lora\", ...) adds it.",
        }));
    }

    [Test]
    public void AStateOfTheAggregatorIsRefused()
    {
        using IHost host = Rounds.CreateHost(services => services
            .AddFedIcu(options => (options.Strategy, options.State) = ("fedadam", "state.safetensors"))
            .AddFedIcuRounds(options => (options.Folder, options.ExpectedClients) = (Place, 1)));
        Assert.That(() => host.StartAsync(), Throws.TypeOf<OptionsValidationException>().With.Message.EqualTo(
            "Rounds: The aggregator's state is 'state.safetensors'; the rounds keep the state beside the models, so none was expected."));
    }

    private sealed class FailingOnce(Func<bool> fails) : ClientWeighting
    {
        public override string Name => "failing-once";

        public override void Weigh(RoundPlan plan, ClientWeights weights)
        {
            if (fails())
                throw new InvalidOperationException("The strategy failed.");
        }
    }
}
