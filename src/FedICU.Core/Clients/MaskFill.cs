namespace FedICU;

/// <summary>The value of the entries that are not sent.</summary>
public enum MaskFill
{
    /// <summary>The received value: the default.</summary>
    Global,
    /// <summary>Zero. The update is then dense, and the server takes the zeros for parameters.</summary>
    Zero,
}
