using System.Diagnostics;
using FedICU.TestChild;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>Sessions of processes that are killed, and of two processes at once.</summary>
[Parallelizable(ParallelScope.Self)]
internal sealed class SessionCrashTests : SessionFixture
{
    /// <summary>
    /// After a process was killed at any moment, the session has every client that the process reported as added, and
    /// none that it reported as retracted. The next process continues.
    /// </summary>
    [Test]
    [CancelAfter(180_000)]
    public void AKilledProcessLosesNoAddedClient()
    {
        var random = new Random(5);
        var said = new HashSet<string>();
        for (int kill = 0; kill < 8; kill++)
        {
            using Process child = CrashTests.Start("session-forever", Place);
            said.Add(child.StandardOutput.ReadLine()!);
            Thread.Sleep(random.Next(80));
            child.Kill();
            string[] lines = child.StandardOutput.ReadToEnd().Split('\n');
            child.WaitForExit();
            // the last line may be incomplete
            said.UnionWith(lines[..^1]);

            using AggregationSession session = AggregationSession.Open(Place, Sessions.Global);
            string[] ids = [.. session.Updates.Select(update => update.Id)];
            Assert.That(ids, Is.SupersetOf(said.Where(line => line[0] == '+' && int.Parse(line[1..]) % 3 != 0).Select(line => line[1..])));
            Assert.That(ids.Select(id => "-" + id), Has.None.AnyOf([.. said]));
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1 + ids.Length), "files that the crash left are removed");
            (_, MemorySink batch) = Models.Run(new FedAvgAggregator(), Sessions.Global,
                ids.Select(id => ClientUpdate.FromTensors(id, Sessions.Model(int.Parse(id)), int.Parse(id))));
            using (batch)
                Assert.That(Bits(new FedAvgAggregator(), session.ToRound()), Is.EqualTo(Models.AllBytes(batch.Model)));
        }

        TestContext.Out.WriteLine($"{said.Count(line => line[0] == '+')} added in 8 processes");
    }

    /// <summary>
    /// After a server with a collector was killed at any moment, every client that was in time still is.
    /// </summary>
    [Test]
    [CancelAfter(180_000)]
    public void AKilledProcessChangesNoClientsLateness()
    {
        var random = new Random(6);
        var said = new HashSet<string>();
        SessionArrival[] before = [];
        for (int kill = 0; kill < 8; kill++)
        {
            using Process child = CrashTests.Start("collect-forever", Place);
            said.Add(child.StandardOutput.ReadLine()!);
            Thread.Sleep(random.Next(60));
            child.Kill();
            said.UnionWith(child.StandardOutput.ReadToEnd().Split('\n')[..^1]);
            child.WaitForExit();

            using AggregationSession session = AggregationSession.Open(Place, Sessions.Global);
            SessionArrival[] now = [.. session.Arrivals];
            Assert.That(now.Take(before.Length).Select(Key), Is.EqualTo(before.Select(Key)), "the order of earlier arrivals");
            Assert.That(now.Select(arrival => "True " + arrival.Update.Id), Is.SupersetOf(said.Where(line => line.StartsWith("True"))));
            Assert.That(now, Has.Length.LessThanOrEqualTo(Sessions.Expected));
            before = now;
        }

        Assert.That(said, Has.Some.StartsWith("False"), "some were late");
        using AggregationSession last = AggregationSession.Open(Place, Sessions.Global);
        using var collector = RoundCollector.Over(last, new RoundCollectorOptions { ExpectedClients = Sessions.Expected });
        Assert.That(
            collector.CompleteAsync().GetAwaiter().GetResult().Updates.Select(update => update.Id),
            Is.EquivalentTo(before.Select(arrival => arrival.Update.Id)));

        static (long, string) Key(SessionArrival arrival) => (arrival.Number, arrival.Update.Id);
    }

    [Test]
    public async Task ASecondProcessCannotOpenTheSession()
    {
        using Process child = CrashTests.Start("session-forever", Place);
        child.StandardOutput.ReadLine();
        try
        {
            Assert.That(() => AggregationSession.Open(Place, Sessions.Global),
                Throws.TypeOf<FedIcuException>().With.Message.Contains("used by another process"));
        }
        finally
        {
            child.Kill();
            await child.WaitForExitAsync();
        }
    }
}
