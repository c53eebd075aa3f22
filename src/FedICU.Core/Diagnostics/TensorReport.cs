using System.Text.Json.Serialization;

namespace FedICU;

/// <summary>What happened to one tensor.</summary>
public sealed record TensorReport
{
    /// <summary>The tensor's name.</summary>
    public required string Name { get; init; }

    /// <summary>The tensor's type in the output.</summary>
    [JsonPropertyName("dtype")]
    public required string DType { get; init; }

    /// <summary>The tensor's dimensions.</summary>
    public required IReadOnlyList<long> Shape { get; init; }

    /// <summary>How the output was computed: the strategy's name, <c>integer mean</c> or <c>kept</c>.</summary>
    public required string Rule { get; init; }

    /// <summary>Why the global model's value was kept; null if it was not.</summary>
    public string? Reason { get; init; }

    /// <summary>
    /// Each included client's part, in ordinal order of the ids. Of a dropped tensor they have only
    /// <see cref="TensorClientReport.ShareSent"/> and <see cref="TensorClientReport.NonFinite"/>. Empty for other kept
    /// tensors.
    /// </summary>
    public IReadOnlyList<TensorClientReport> Clients { get; init => field = value ?? []; } = [];
}
