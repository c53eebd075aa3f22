namespace FedICU.TestChild;

/// <summary>
/// Runs a round of FedAdam over model.safetensors, state.safetensors and three clients in one folder, and stops at a
/// step until the parent process kills this process.
/// </summary>
internal static class FedAdamRound
{
    /// <summary>Runs the round. An unknown step ends it.</summary>
    public static int Until(string step, string folder)
    {
        using TensorSource global = TensorSource.Open(Path.Combine(folder, "model.safetensors"));
        var round = new AggregationRound(global) { State = RoundState.InFile(Path.Combine(folder, "state.safetensors")) };
        for (int k = 0; k < 3; k++)
            round.Add(ClientUpdate.FromFile($"{k}", Path.Combine(folder, $"client-{k}.safetensors")));
        var sink = new StoppingSink(TensorSink.ToFile(Path.Combine(folder, "model.safetensors")), step);
        new FedAdamAggregator().AggregateAsync(round, sink).GetAwaiter().GetResult();
        return 0;
    }

    private sealed class StoppingSink(TensorSink output, string step) : TensorSink
    {
        public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata) =>
            output.Begin(tensors, metadata);

        public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
        {
            output.Write(tensor, offset, source);
            Reach("writing");
        }

        public override void Commit()
        {
            Reach("sealed");
            output.Commit();
            Reach("committed");
        }

        public override void Abort() => output.Abort();

        private void Reach(string reached)
        {
            if (reached != step)
                return;
            Console.WriteLine(reached);
            Thread.Sleep(Timeout.Infinite);
        }
    }
}
