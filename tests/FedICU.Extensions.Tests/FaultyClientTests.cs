using FedICU.Tests.Files;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace FedICU.Extensions.Tests;

/// <summary>What one client's fault, a damaged file and a full disk do to the rounds of a server.</summary>
internal sealed class FaultyClientTests : RoundsFixture
{
    // of three expected clients one that is faulty leaves two, which are enough without any option
    private static void AcceptNonFinite(FederatedRoundsOptions options) => options.CheckValues = false;

    private static RoundReport ReportOf(IHost host, long round) =>
        RoundReport.FromJson(System.IO.File.ReadAllText(Of(host).Finished.Single(finished => finished.Number == round).ReportPath));

    private static byte[] Average(params int[] clients)
    {
        var round = new AggregationRound(Rounds.Model(0));
        foreach (int client in clients)
            round.Add(ClientUpdate.FromTensors($"client-{client}", Rounds.Model(client + 10), 10 * client));
        using var sink = new MemorySink();
        new FedAvgAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        return Rounds.Bytes(sink.Model);
    }

    [Test]
    public async Task ByDefaultOneFaultyClientIsLeftOutAndTheOthersStay()
    {
        using IHost host = await StartAsync(more: AcceptNonFinite);
        await SendAsync(host, 1, 1);
        await SendAsync(host, 1, 2);
        await SendNonFiniteAsync(host, 1, "bad");
        await Of(host).WaitForRoundAsync(2).WaitAsync(Patience);
        RoundReport report = ReportOf(host, 1);
        Assert.That(
            report.Clients.Select(client => (client.Id, client.Included)),
            Is.EqualTo(new[] { ("bad", false), ("client-1", true), ("client-2", true) }));
        Assert.That(report.Clients[0].Reason, Does.Match("^Client 'bad'.*: tensor 'layer.weight' has 30 values that are NaN or infinite"));
        Assert.That((Of(host).Finished[0].Clients, Of(host).Finished[0].Included), Is.EqualTo((3, 2)));
        Assert.That(Bits(Of(host).FindModel(2)!), Is.EqualTo(Average(1, 2)));
        Assert.That(Of(host).Status.LastFailure, Is.Null);
    }

    /// <summary>A fault that no policy covers, as a strategy of one's own finds it.</summary>
    [Test]
    public async Task AClientThatAStrategyRefusesIsLeftOutWithTheReason()
    {
        var log = new RoundsLog();
        using IHost host = await StartAsync("picky,fedavg", add: services => services
            .AddStrategy("picky", "Refuses a client.", "", _ => () => [new Picky("client-2")])
            .AddSingleton<ILoggerProvider>(log));
        for (int client = 1; client <= 3; client++)
            await SendAsync(host, 1, client);
        await Of(host).WaitForRoundAsync(2).WaitAsync(Patience);
        Assert.That(
            ReportOf(host, 1).Clients.Where(client => !client.Included).Select(client => (client.Id, client.Reason)),
            Is.EqualTo(new[] { ("client-2", "Client 'client-2': the strategy does not like it.") }));
        Assert.That(Bits(Of(host).FindModel(2)!), Is.EqualTo(Average(1, 3)));
        Assert.That(log.Lines, Has.One.EqualTo(
            "Warning Round 1 left client client-2 out: Client 'client-2': the strategy does not like it."));
    }

    [Test]
    public async Task ADamagedUpdateLeavesOutItsClientAndNotTheServer()
    {
        using (IHost host = await StartAsync())
        {
            await SendAsync(host, 1, 1);
            await host.StopAsync();
        }

        string file = Directory.GetFiles(Path.Combine(Place, "1", "session"), "update-*").Single();
        System.IO.File.WriteAllText(file, "damaged");
        using IHost again = await StartAsync();
        await SendAsync(again, 1, 2);
        await SendAsync(again, 1, 3);
        await Of(again).WaitForRoundAsync(2).WaitAsync(Patience);
        Assert.That(ReportOf(again, 1).Clients[0].Reason, Does.StartWith("Client 'client-1'").And.Contain("7 bytes"));
        Assert.That(Bits(Of(again).FindModel(2)!), Is.EqualTo(Average(2, 3)));
    }

    [Test]
    public async Task ADamagedReportOfAnOldRoundDoesNotPreventTheStart()
    {
        using (IHost host = await StartAsync(more: options => options.ExpectedClients = 1))
        {
            for (int round = 1; round <= 2; round++)
            {
                await SendAsync(host, round, 1);
                await Of(host).WaitForRoundAsync(round + 1).WaitAsync(Patience);
            }

            await host.StopAsync();
        }

        System.IO.File.WriteAllText(Path.Combine(Place, "1", "report.json"), "half a report");
        var log = new RoundsLog();
        using IHost again = await StartAsync(add: services => services.AddSingleton<ILoggerProvider>(log));
        Assert.That(Of(again).Finished.Select(round => round.Number), Is.EqualTo(new[] { 2 }));
        Assert.That(Of(again).Finished, Has.Count.EqualTo(1));
        Assert.That(log.Lines.Where(line => line.StartsWith("Warning", StringComparison.Ordinal)), Is.EqualTo(new[]
        {
            "Warning The report of round 1 cannot be read, and the round is not listed: " +
                "The text is not a report: the fault is at byte 1 of line 1.",
        }));
    }

    [Test]
    public async Task AFullDiskRefusesAnUpdateAsTheServersFaultAndTheRoundGoesOn()
    {
        using IHost host = await StartAsync();
        using (BrokenFile.Break(Path.Combine(Place, "1", "session", "session.journal")))
        {
            for (int attempt = 0; attempt < 2; attempt++)
                Assert.That(() => SendAsync(host, 1, 1), Throws.TypeOf<FedIcuException>().With.Message.Contains("cannot be written"));
            Assert.That(Of(host).Status.IsOpen);
        }

        for (int client = 1; client <= 3; client++)
            Assert.That((await SendAsync(host, 1, client)).IsRepeated, Is.False);
        await Of(host).WaitForRoundAsync(2).WaitAsync(Patience);
        Assert.That(Bits(Of(host).FindModel(2)!), Is.EqualTo(Average(1, 2, 3)));
    }

    private sealed class Picky(string refused) : ClientWeighting
    {
        public override string Name => "picky";

        public override void Weigh(RoundPlan plan, ClientWeights weights)
        {
            if (plan.Clients.Any(client => client.Id == refused))
                throw new RoundRejectedException(RoundFault.Round, $"Client '{refused}': the strategy does not like it.", refused);
        }
    }
}
