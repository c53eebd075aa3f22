namespace FedICU.Compute;

/// <summary>A backend that hands each verb to one of several others.</summary>
internal interface IRoutingBackend
{
    /// <summary>
    /// The same backend for one round: it adds to <paramref name="work"/> which of the others computed with how many bytes.
    /// </summary>
    IComputeBackend Counted(RoundWork work);
}
