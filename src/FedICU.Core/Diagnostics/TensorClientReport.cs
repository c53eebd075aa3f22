using System.Text.Json.Serialization;

namespace FedICU;

/// <summary>One client's part in one tensor.</summary>
public sealed record TensorClientReport
{
    /// <summary>The client's id.</summary>
    public required string Id { get; init; }

    /// <summary>w_k: the weight by which its part was combined (FedAvg: its share; FedICU: the divergence weight).</summary>
    public double? Weight { get; init; }

    /// <summary>s_k: the similarity, or the caller's score, that the weight was made of (FedICU).</summary>
    public double? Score { get; init; }

    /// <summary>The L2 norm of its parameters; with statistics only.</summary>
    public double? Norm { get; init; }

    /// <summary>The L2 norm of its update theta_k - theta_g; with statistics only.</summary>
    public double? UpdateNorm { get; init; }

    /// <summary>The cosine of its update to the weighted mean update, 0 where either is zero; with statistics only.</summary>
    public double? Cosine { get; init; }

    /// <summary>The share of the tensor's entries it sent.</summary>
    [JsonRequired]
    public double ShareSent { get; init; } = 1;

    /// <summary>How many of its values are NaN or infinite; more than 0 only where the tensor was dropped for it.</summary>
    public long NonFinite { get; init; }
}
