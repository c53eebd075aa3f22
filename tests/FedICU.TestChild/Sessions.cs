namespace FedICU.TestChild;

/// <summary>A session whose process is killed.</summary>
public static class Sessions
{
    public static readonly MemoryModel Global = Model(0);

    /// <summary>
    /// Adds clients from three threads, each to the end of time, beginning after those that are there; retracts every third. Says <c>+id</c> when a client was added and
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

    /// <summary>The client of that number; 0 is the global model.</summary>
    public static MemoryModel Model(int number) =>
        new() { { "first", [300, 20], [.. Enumerable.Range(0, 6000).Select(i => MathF.Sin(i + number))] }, { "second", [7], new float[7] } };
}
