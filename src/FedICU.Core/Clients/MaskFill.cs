namespace FedICU;

/// <summary>What stands where nothing is sent.</summary>
public enum MaskFill
{
    /// <summary>The received value: the default.</summary>
    Global,
    /// <summary>Zero; the result is dense.</summary>
    Zero,
}
