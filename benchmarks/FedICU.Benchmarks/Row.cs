using System.Text.Json.Serialization;

namespace FedICU.Benchmarks;

/// <summary>
/// The times of a contender on a case. Minimum, median and maximum are those of the rounds of a single run, or of the
/// runs' medians.
/// </summary>
public sealed record Row(string Layout, DType DType, int Clients, int ModelsInMemory, string Contender)
{
    /// <summary>The milliseconds of each run's rounds.</summary>
    public List<double[]> Runs { get; init; } = [];

    /// <summary>The bytes that must move.</summary>
    public long Bytes { get; set; }

    public long? AllocatedBytes { get; set; }

    /// <summary>A remark, such as why figures are missing or how far results differ.</summary>
    public string? Note { get; set; }

    public double Min => Sorted.FirstOrDefault();

    public double Median => MedianOf(Sorted);

    public double Max => Sorted.LastOrDefault();

    public double GigabytesPerSecond => Median > 0 ? Bytes / Median / 1e6 : 0;

    [JsonIgnore]
    public string Case => $"{Layout}, {DType.SafetensorsName}";

    private double[] Sorted => [.. (Runs.Count == 1 ? Runs[0] : Runs.Select(run => MedianOf([.. run.Order()]))).Order()];

    private static double MedianOf(double[] sorted) =>
        sorted.Length == 0 ? 0 : (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
}
