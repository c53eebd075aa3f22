namespace FedICU.Compute;

/// <summary>The panels that an importance is computed from: g = global, and u by <see cref="Rule"/>.</summary>
/// <param name="Global">The received model, theta_g.</param>
/// <param name="Local">The trained model, theta_k.</param>
/// <param name="Momentum">The client's momentum of the round before; read by the rules Ema and Supplied.</param>
/// <param name="Rule">How u is made.</param>
/// <param name="Beta">The share of the old momentum, in [0, 1).</param>
public readonly record struct ImportanceInputs(TensorPanel Global, TensorPanel Local, TensorPanel Momentum, MomentumRule Rule, double Beta);
