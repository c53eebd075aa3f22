namespace FedICU.Tests;

/// <summary>The result of a round of <see cref="LoraClient"/>s.</summary>
/// <param name="A">A, row by row.</param>
/// <param name="B">B, row by row.</param>
/// <param name="Written">The written configuration.</param>
/// <param name="Report">The report.</param>
internal sealed record LoraResult(double[] A, double[] B, PeftAdapterConfig Written, RoundReport Report)
{
    public LoraPairReport Pair => Report.LoraPairs.Single();

    public double?[] Weights => [.. Report.Tensors[0].Clients.Select(client => client.Weight)];

    public int Rank => Written.Rank;

    public double Scaling => Written.UseRsLora ? Written.LoraAlpha / Math.Sqrt(Rank) : Written.LoraAlpha / Rank;
}
