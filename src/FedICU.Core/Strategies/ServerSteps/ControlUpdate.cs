namespace FedICU;

/// <summary>How <see cref="Scaffold"/> adds the clients' changes to its control variate.</summary>
public enum ControlUpdate
{
    /// <summary>c + (1/M) sum_k dc_k: the default.</summary>
    Sum,
    /// <summary>c + sum_k w_k dc_k.</summary>
    Mean,
}
