namespace FedICU;

/// <summary>Where <see cref="Scaffold"/> takes the change of a client's control variate from.</summary>
public enum ScaffoldControl
{
    /// <summary>Each client sends it as a second model: the default.</summary>
    Sent,
    /// <summary>From the update: -d_k / (local_steps_k local-lr) - c, the paper's option II.</summary>
    Derived,
}
