namespace FedICU;

/// <summary>
/// The form in which a strategy reads the clients' tensors. It does not depend on the form they were sent in.
/// </summary>
public enum UpdateForm
{
    /// <summary>The parameters y_k.</summary>
    Parameters,
    /// <summary>The update d_k = y_k - x, in float64; x is the global model.</summary>
    Delta,
}
