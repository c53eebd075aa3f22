namespace FedICU;

/// <summary>How integer tensors are aggregated.</summary>
public enum IntegerRule
{
    /// <summary>The exact weighted mean, rounded half to even: the default.</summary>
    Mean,
    /// <summary>The global model's value is kept.</summary>
    Keep,
}
