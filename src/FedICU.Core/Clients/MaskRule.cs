namespace FedICU;

/// <summary>What is done with the importances.</summary>
public enum MaskRule
{
    /// <summary>Entries where the update is more important than the received model are sent, the others keep the received value: the default.</summary>
    Hard,
    /// <summary>theta_g + m delta with m = S / (S + G) where S > G, divided by the mean of its nonzero entries, at most 1.</summary>
    Soft,
    /// <summary>Exactly the most important ceil(ratio n) entries of the update are sent.</summary>
    TopRatio,
    /// <summary>Unimportant entries get Gaussian noise of sigma std(delta) in place of their update (FedCDD); the result is dense.</summary>
    GaussianNoise,
}
