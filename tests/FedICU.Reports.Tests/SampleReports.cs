namespace FedICU.Reports.Tests;

/// <summary>Reports of made-up rounds, as large and as strange as a test wants.</summary>
internal static class SampleReports
{
    private static readonly string[] Modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

    /// <summary>Returns a round in which some clients are alike, one goes against them and one is left out.</summary>
    public static RoundReport Round(int clients, int tensors, long? round = 1, int seed = 1)
    {
        var random = new Random(seed);
        string[] ids = [.. Enumerable.Range(0, clients).Select(k => $"hospital-{k:000}")];
        double[] angles = [.. ids.Select((_, k) => k == 2 ? -0.5 : k % 3 * 0.25 + 0.1)];
        string[] names = [.. Enumerable.Range(0, tensors).Select(NameOf)];
        return new RoundReport
        {
            Strategy = "krum",
            Backend = "simd",
            Round = round,
            Clients =
            [
                .. ids.Select((id, k) => new ClientReport
                {
                    Id = id, Weight = 100 + 10 * k, Share = k == 1 ? 0 : 1.0 / (clients - 1), Included = k != 1, Chosen = k is not (1 or 2),
                    Reason = k == 1 ? "Tensor 'a' holds 3 values that are NaN or infinite." : null, Kind = "full",
                    BytesSent = 1_000_000 + k, BytesFull = 2_000_000,
                }),
            ],
            Tensors =
            [
                .. names.Select((name, t) => new TensorReport
                {
                    Name = name, DType = "F32", Shape = [16, 8], Rule = "krum",
                    Clients =
                    [
                        .. ids.Where((_, k) => k != 1).Select((id, k) => new TensorClientReport
                        {
                            Id = id, Weight = (1 + random.NextDouble()) / clients,
                            UpdateNorm = Math.Exp(t % 7 - 3) * (0.5 + random.NextDouble()),
                            Cosine = Math.Clamp(angles[Array.IndexOf(ids, id)] + 0.4 * (random.NextDouble() - 0.3), -1, 1), Norm = 3,
                        }),
                    ],
                }),
            ],
            LoraPairs = [.. names.Where((_, t) => t % 2 == 0).Select(name => new LoraPairReport(name, 0.05 + 0.4 * random.NextDouble()))],
            Stages = [new("krum", "score", [.. ids.Where((_, k) => k != 1)],
                [.. ids.Where((_, k) => k != 1).Select(_ => random.NextDouble())])],
            Notes = ["No client states a number of examples; each weighs 1."],
        };
    }

    private static string NameOf(int tensor) =>
        $"base_model.model.layers.{tensor / 14}.self_attn.{Modules[tensor / 2 % 7]}.lora_{(tensor % 2 == 0 ? 'A' : 'B')}.weight";
}
