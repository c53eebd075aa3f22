namespace FedICU.Tests;

/// <summary>The folder, the clients and the comparisons of tests of sessions.</summary>
internal abstract class SessionFixture : FolderFixture
{
    protected static readonly MemoryModel Global = Models.Random(1);
    protected static readonly string Digest = ModelDigest.Compute(Global);

    protected string Place => Folder["session"];

    protected string Journal => Path.Combine(Place, "session.journal");

    protected static ClientUpdate Client(string id, int seed = 2) => ClientUpdate.FromTensors(id, Models.Random(seed), 1);

    protected static byte[] Bits(IAggregator aggregator, AggregationRound round)
    {
        using var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return Models.AllBytes(sink.Model);
    }

    protected static byte[] Batch(IAggregator aggregator, IEnumerable<ClientUpdate> clients, RoundOptions? options = null)
    {
        var round = new AggregationRound(Global, options ?? new RoundOptions());
        foreach (ClientUpdate client in clients)
            round.Add(client);
        return Bits(aggregator, round);
    }

    protected static T Refused<T>(Func<object?> what, string sentence) where T : FedIcuException
    {
        T refused = Assert.Throws<T>(() => what())!;
        Assert.That(refused.Message, Is.EqualTo(sentence));
        return refused;
    }

    /// <summary>Finds the file or folder of a client's update in the session.</summary>
    protected string FindUpdate(string client, TensorSource? global = null)
    {
        using AggregationSession session = AggregationSession.Open(Place, global ?? Global);
        return session.Updates.Single(update => update.Id == client).Path!;
    }
}
