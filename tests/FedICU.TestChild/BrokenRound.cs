namespace FedICU.TestChild;

/// <summary>Runs a round while the parent process truncates a client's file.</summary>
internal static class BrokenRound
{
    /// <summary>
    /// Prints each finished tensor and waits for a line of input. Prints the message of the refusal, then shows that
    /// the process survives.
    /// </summary>
    public static async Task<int> UntilRefusedAsync(string output, string global, string[] clients)
    {
        using TensorSource model = TensorSource.Open(global);
        var round = new AggregationRound(model, new RoundOptions { Threads = 1, Progress = new Waiting() });
        foreach (string client in clients)
            round.Add(ClientUpdate.FromFile(client, client, examples: 1));
        try
        {
            await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile(output));
            return 1;
        }
        catch (RoundRejectedException e)
        {
            Console.WriteLine(e.Message);
            Console.WriteLine("alive");
            return 0;
        }
    }

    private sealed class Waiting : IProgress<RoundProgress>
    {
        public void Report(RoundProgress value)
        {
            Console.WriteLine(value.Tensor);
            Console.ReadLine();
        }
    }
}
