namespace FedICU.Compute;

/// <summary>
/// The panels that importances are computed from: g is the global model, u is given by <see cref="Rule"/>.
/// </summary>
/// <param name="Global">The received model, theta_g.</param>
/// <param name="Local">The trained model, theta_k.</param>
/// <param name="Momentum">The client's momentum of the previous round; read by the rules Ema and Supplied.</param>
/// <param name="Rule">How u is computed.</param>
/// <param name="Beta">The weight of the old momentum, in [0, 1); read by the rule Ema.</param>
public readonly record struct ImportanceInputs(TensorPanel Global, TensorPanel Local, TensorPanel Momentum, MomentumRule Rule, double Beta);
