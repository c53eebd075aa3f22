namespace FedICU.Compute;

/// <summary>How an adaptive step computes the next second moment v from the update D.</summary>
internal enum SecondMomentRule
{
    /// <summary>beta2 v + (1 - beta2) D^2.</summary>
    Adam,

    /// <summary>v - (1 - beta2) D^2 sign(v - D^2), with sign(0) = 0.</summary>
    Yogi,

    /// <summary>v + D^2.</summary>
    Adagrad,
}
