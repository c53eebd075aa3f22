namespace FedICU;

/// <summary>How the magnitudes are averaged.</summary>
public enum ConsensusRule
{
    /// <summary>The plain mean, no sample weights: the default.</summary>
    Uniform,
    /// <summary>The mean by the clients' shares.</summary>
    Share,
}
