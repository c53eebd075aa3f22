using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.TestChild;

/// <summary>
/// Runs rounds that publish a model and its state, model.safetensors and state.safetensors in one folder. After round n
/// every byte of both is n modulo 251, and the metadata contain n.
/// </summary>
internal static class StateRounds
{
    private static readonly TensorInfo[] ModelTensors = [new("w", DType.U8, new TensorShape(500, 1000))];
    private static readonly TensorInfo[] StateTensors = [new("w#m", DType.U8, new TensorShape(500, 1000))];

    /// <summary>Runs one round up to a step, prints the step, and waits. An unknown step ends the round.</summary>
    public static int Until(string step, string folder)
    {
        Run(folder, reached =>
        {
            if (reached != step)
                return;
            Console.WriteLine(reached);
            Thread.Sleep(Timeout.Infinite);
        });
        return 0;
    }

    /// <summary>Runs round after round and prints the number of each.</summary>
    public static int Forever(string folder)
    {
        while (true)
            Console.WriteLine(Run(folder, _ => { }));
    }

    private static long Run(string folder, Action<string> reach)
    {
        string model = Path.Combine(folder, "model.safetensors"), path = Path.Combine(folder, "state.safetensors");
        long rounds = 1;
        if (File.Exists(model))
        {
            using SafetensorsFile global = SafetensorsFile.Open(model);
            string digest = ModelDigest.Compute(global);
            PendingState.Recover(path, () => digest, OutputOptions.Default);
            using ServerState old = ServerState.Open(path, "fedadam", StateTensors, () => digest, round: null);
            rounds = old.Rounds + 1;
        }

        var output = new DigestSink(TensorSink.ToFile(model));
        var state = new StateFile(path, OutputOptions.Default);
        output.Begin(ModelTensors, new Dictionary<string, string> { ["rounds"] = $"{rounds}" });
        state.Begin(StateTensors, ServerState.Describe("fedadam", rounds, round: null));
        byte[] bytes = new byte[StateTensors[0].ByteLength];
        Array.Fill(bytes, (byte)(rounds % 251));
        output.Write(ModelTensors[0], 0, bytes);
        state.Write(StateTensors[0], 0, bytes.AsSpan(0, bytes.Length / 2));
        reach("half");
        state.Write(StateTensors[0], bytes.Length / 2, bytes.AsSpan(bytes.Length / 2));
        reach("written");
        state.Seal(output.Digest);
        reach("sealed");
        output.Commit();
        reach("committed");
        state.Commit();
        reach("published");
        return rounds;
    }
}
