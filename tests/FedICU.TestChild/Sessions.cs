namespace FedICU.TestChild;

/// <summary>A session whose process is killed.</summary>
public static class Sessions
{
    public static readonly MemoryModel Global = Model(0);

    /// <summary>
    /// Adds clients from three threads, each to the end of time, beginning after those that are there; retracts every third. Says
    /// <c>+id</c> when a client was added and
    /// <c>-id</c> when it was retracted.
    /// </summary>
    public static async Task<int> ForeverAsync(string folder)
    {
        using AggregationSession session = AggregationSession.OpenOrCreate(folder, Global);
        int next = session.Updates.Select(update => int.Parse(update.Id) + 1).DefaultIfEmpty().Max();
        await Task.WhenAll(Enumerable.Range(0, 3).Select(async _ =>
        {
            while (true)
            {
                int number = Interlocked.Increment(ref next);
                await session.AddAsync(ClientUpdate.FromTensors($"{number}", Model(number), number));
                Console.WriteLine($"+{number}");
                if (number % 3 != 0)
                    continue;
                session.Retract($"{number}");
                Console.WriteLine($"-{number}");
            }
        }));
        return 0;
    }

    /// <summary>The number of clients that <see cref="CollectForeverAsync"/> expects.</summary>
    public const int Expected = 9;

    /// <summary>
    /// Adds clients from three threads to a collector over the session, to the end of time, and says of each whether it was in time:
    /// <c>True 3</c>.
    /// </summary>
    public static async Task<int> CollectForeverAsync(string folder)
    {
        using AggregationSession session = AggregationSession.OpenOrCreate(folder, Global);
        var options = new RoundCollectorOptions { ExpectedClients = Expected, Deadline = TimeSpan.FromDays(1) };
        using RoundCollector collector = RoundCollector.Over(session, options);
        int next = session.Updates.Select(update => 1000 - int.Parse(update.Id)).DefaultIfEmpty().Max();
        await Task.WhenAll(Enumerable.Range(0, 3).Select(async _ =>
        {
            while (true)
            {
                // descending, so that the ordinal order is not that of arrival
                int number = 1000 - Interlocked.Increment(ref next);
                bool inTime = await collector.AddAsync(ClientUpdate.FromTensors($"{number}", Model(number), number));
                Console.WriteLine($"{inTime} {number}");
            }
        }));
        return 0;
    }

    /// <summary>The client of that number; 0 is the global model.</summary>
    public static MemoryModel Model(int number) =>
        new() { { "first", [300, 20], [.. Enumerable.Range(0, 6000).Select(i => MathF.Sin(i + number))] }, { "second", [7], new float[7] } };
}
