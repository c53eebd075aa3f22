namespace FedICU.Compute;

/// <summary>A backend that passes each verb to one of several others.</summary>
internal interface IRoutingBackend
{
    /// <summary>
    /// Returns a copy of the backend for one round. It adds to <paramref name="work"/> the bytes that each of the
    /// others computed with.
    /// </summary>
    IComputeBackend Counted(RoundWork work);
}
