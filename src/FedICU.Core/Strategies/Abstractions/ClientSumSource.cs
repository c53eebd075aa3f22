namespace FedICU;

/// <summary>What a <see cref="ClientSum"/> adds up.</summary>
public enum ClientSumSource
{
    /// <summary>The clients' updates d_k, as the merge sees them.</summary>
    Updates,
    /// <summary>
    /// The clients' control variates, for stages whose <see cref="Stage.ReadsControls"/> is set.
    /// </summary>
    Controls,
}
