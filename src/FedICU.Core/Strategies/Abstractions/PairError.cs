namespace FedICU.Strategies.Abstractions;

/// <summary>How far a written product s B A is from W = sum_k w_k s_k B_k A_k.</summary>
/// <param name="Error">norm(W - s B A), in the Frobenius norm.</param>
/// <param name="Norm">norm(W).</param>
internal sealed record PairError(double Error, double Norm)
{
    /// <summary>The error as a share of the norm; 0 if W is 0.</summary>
    public double Relative => Norm > 0 ? Error / Norm : 0;
}
