using System.Text.Json.Serialization;

namespace FedICU;

/// <summary>What happened to one tensor.</summary>
public sealed record TensorReport
{
    /// <summary>The tensor's name.</summary>
    public required string Name { get; init; }

    /// <summary>Its type in the output.</summary>
    [JsonPropertyName("dtype")]
    public required string DType { get; init; }

    /// <summary>Its dimensions.</summary>
    public required IReadOnlyList<long> Shape { get; init; }

    /// <summary>How it was made: the strategy's name, <c>integer mean</c>, <c>kept</c>.</summary>
    public required string Rule { get; init; }

    /// <summary>Why it was kept or treated apart, where it was.</summary>
    public string? Reason { get; init; }

    /// <summary>
    /// Each included client's part, in ordinal order of the ids. Empty for integers and types that are not computed, unless the tensor was dropped; of a dropped one
    /// only <see cref="TensorClientReport.ShareSent"/> and <see cref="TensorClientReport.NonFinite"/>.
    /// </summary>
    public IReadOnlyList<TensorClientReport> Clients { get; init => field = value ?? []; } = [];
}
