using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>A disk that is full while a session's journal is written, and has room again.</summary>
internal sealed class SessionDiskFaultTests : SessionFixture
{
    private void RefusesForTheDisk(Func<Task> change) => Assert.That(
        () => change(),
        Throws.TypeOf<FedIcuException>().With.Message.StartsWith($"'{Journal}' cannot be written: "));

    [Test]
    public async Task AFullDiskRefusesAnUpdateAndTheSessionGoesOn()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            using (BrokenFile.Break(Journal))
            {
                for (int attempt = 0; attempt < 3; attempt++)
                    RefusesForTheDisk(() => session.AddAsync(Client("b")));
                RefusesForTheDisk(() => Task.Run(() => session.Retract("a")));
                RefusesForTheDisk(() => Task.Run(session.Seal));
                Assert.That(session.Updates.Select(update => update.Id), Is.EqualTo(new[] { "a" }));
                Assert.That(session.IsSealed, Is.False);
                Assert.That(
                    Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(3), "the one whose line may be on the disk stays");
            }

            // the seal is due, and written before another client
            Assert.That(
                () => session.AddAsync(Client("c")),
                Throws.TypeOf<RoundRejectedException>().With.Property("Fault").EqualTo(RoundFault.Late));
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(again.Updates.Select(update => update.Id), Is.EqualTo(new[] { "a" }));
        Assert.That(again.IsSealed);
    }

    [Test]
    public async Task AClientSendsAgainOnceTheDiskHasRoom()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            using (BrokenFile.Break(Journal))
                RefusesForTheDisk(() => session.AddAsync(Client("a")));
            Assert.That((await session.AddAsync(Client("a"))).IsRepeated, Is.False);
            Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(again.Updates.Single().Id, Is.EqualTo("a"));
    }

    [Test]
    public async Task ACollectorCompletesOnceTheDiskHasRoom()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        var options = new RoundCollectorOptions { ExpectedClients = 2, MinimumClients = 1 };
        using RoundCollector collector = RoundCollector.Over(session, options);
        await session.AddAsync(Client("a"));
        using (BrokenFile.Break(Journal))
        {
            RefusesForTheDisk(() => Task.Run(session.Seal));
            Assert.That(session.IsSealed, Is.False);
        }

        session.Seal();
        Assert.That((await collector.CompleteAsync()).Updates.Single().Id, Is.EqualTo("a"));
    }
}
