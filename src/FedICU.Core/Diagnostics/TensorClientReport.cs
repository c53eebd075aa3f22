using System.Text.Json.Serialization;

namespace FedICU;

/// <summary>One client's part in one tensor.</summary>
public sealed record TensorClientReport
{
    /// <summary>The client's id.</summary>
    public required string Id { get; init; }

    /// <summary>
    /// w_k, the client's weight in the combination. FedAvg: its share; FedICU: the divergence weight.
    /// </summary>
    public double? Weight { get; init; }

    /// <summary>s_k, the similarity, or the caller's score, that the weight was computed from (FedICU).</summary>
    public double? Score { get; init; }

    /// <summary>The L2 norm of the client's parameters; with statistics only.</summary>
    public double? Norm { get; init; }

    /// <summary>The L2 norm of the client's update theta_k - theta_g; with statistics only.</summary>
    public double? UpdateNorm { get; init; }

    /// <summary>
    /// The cosine of the update to the weighted mean update, 0 if either is zero; with statistics only.
    /// </summary>
    public double? Cosine { get; init; }

    /// <summary>Whether the update points away from the weighted mean update: its cosine is negative.</summary>
    [JsonIgnore]
    public bool IsAgainst => Cosine < 0;

    /// <summary>The share of the tensor's entries that the client sent.</summary>
    [JsonRequired]
    public double ShareSent { get; init; } = 1;

    /// <summary>
    /// The number of the client's NaN and infinite values; above 0 only if the tensor was dropped for them.
    /// </summary>
    public long NonFinite { get; init; }
}
