namespace FedICU;

/// <summary>The number of local steps that <see cref="FedNova"/>'s mean update is worth.</summary>
public enum EffectiveSteps
{
    /// <summary>sum_k w_k a_k, the mean of the normalizers: the default.</summary>
    Mean,
    /// <summary>sum_k w_k tau_k, the mean of the clients' local steps.</summary>
    Steps,
}
