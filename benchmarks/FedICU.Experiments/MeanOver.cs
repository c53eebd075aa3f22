namespace FedICU.Experiments;

/// <summary>The clients over which an entry's mean is taken.</summary>
internal enum MeanOver
{
    /// <summary>All clients. A client that did not send the entry counts with the received value.</summary>
    All,

    /// <summary>The clients that sent the entry.</summary>
    Senders,

    /// <summary>The senders whose change has the sign of the sum of all changes (TIES, Yadav et al. 2023).</summary>
    Agreeing,
}
