namespace FedICU;

/// <summary>In which form a strategy looks at the clients' tensors, whatever form they were sent in.</summary>
public enum UpdateForm
{
    /// <summary>The parameters y_k.</summary>
    Parameters,
    /// <summary>The update d_k = y_k - x, in float64.</summary>
    Delta,
}
