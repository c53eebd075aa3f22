namespace FedICU;

/// <summary>How the clients' magnitudes M_k are averaged to the consensus M.</summary>
public enum ConsensusRule
{
    /// <summary>M = sum_k M_k / N, without sample weights: the default, from the paper's framework figure.</summary>
    Uniform,
    /// <summary>M = sum_k p_k M_k, by the clients' shares p_k.</summary>
    Share,
}
