using System.IO.Pipes;

namespace FedICU.TestChild;

/// <summary>Fills a session until the parent process kills this process.</summary>
public static class Sessions
{
    public static readonly MemoryModel Global = Model(0);

    /// <summary>
    /// Adds clients from three threads without end, starting after the clients that the session contains. Retracts
    /// every third client. Prints <c>+id</c> after adding a client and <c>-id</c> after retracting it.
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

    /// <summary>Receives an upload that never ends, and prints <c>begun</c> once a part of it is on the disk.</summary>
    public static async Task<int> UploadForeverAsync(string folder)
    {
        using AggregationSession session = AggregationSession.Create(folder, Global);
        using var pipe = new AnonymousPipeServerStream(PipeDirection.Out);
        using var upload = new AnonymousPipeClientStream(PipeDirection.In, pipe.GetClientHandleAsString());
        Task<UpdateReceipt> receiving = session.AddAsync("a", upload);
        pipe.Write(new byte[1000]);
        while (!Directory.GetFiles(folder, "update-*").Any(file => new FileInfo(file).Length > 0))
            await Task.Delay(1);
        Console.WriteLine("begun");
        await receiving;
        return 0;
    }

    /// <summary>The number of clients that <see cref="CollectForeverAsync"/> expects.</summary>
    public const int Expected = 9;

    /// <summary>
    /// Adds clients from three threads without end to a collector over the session. Prints for each client whether it
    /// was in time, such as <c>True 3</c>.
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
                // descending, so that the ordinal order differs from the order of arrival
                int number = 1000 - Interlocked.Increment(ref next);
                bool inTime = true;
                try
                {
                    await collector.AddAsync(ClientUpdate.FromTensors($"{number}", Model(number), number));
                }
                catch (RoundRejectedException e) when (e.Fault == RoundFault.Late)
                {
                    inTime = false;
                }

                Console.WriteLine($"{inTime} {number}");
            }
        }));
        return 0;
    }

    /// <summary>Creates the model of a client by its number; 0 is the global model.</summary>
    public static MemoryModel Model(int number) =>
        new()
        {
            { "first", [300, 20], [.. Enumerable.Range(0, 6000).Select(i => MathF.Sin(i + number))] },
            { "second", [7], new float[7] },
        };
}
