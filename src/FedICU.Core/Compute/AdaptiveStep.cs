namespace FedICU.Compute;

/// <summary>
/// A step of the server with two moments (Reddi et al. 2021): m = beta1 m + (1 - beta1) D, v by its rule, u = rate * (m
/// / (sqrt(scale * v) + tau)). The last product of m and that of v are fused with the sum.
/// </summary>
internal readonly record struct AdaptiveStep(double Beta1, double Beta2, SecondMomentRule Second, double Rate, double Scale, double Tau);
