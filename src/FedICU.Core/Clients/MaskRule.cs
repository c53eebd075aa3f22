namespace FedICU;

/// <summary>
/// How a client's importances decide what is sent. S is an entry's importance in the update, G in the received model.
/// </summary>
public enum MaskRule
{
    /// <summary>
    /// Sends the trained value of the entries with S > G; the others keep the received value. The default, from the
    /// paper's framework figure.
    /// </summary>
    Hard,
    /// <summary>
    /// Sends theta_g + m delta for the entries with S > G. m is S / (S + G) divided by its mean over these entries, and
    /// at most 1 (ours, after SPIDER, ICML 2025).
    /// </summary>
    Soft,
    /// <summary>
    /// Sends exactly the ceil(ratio n) entries whose update is the most important; of equal ones, those of the lower
    /// index (ours).
    /// </summary>
    TopRatio,
    /// <summary>
    /// Replaces the update of the entries without S > G by Gaussian noise of standard deviation sigma std(delta); the
    /// update is dense (ours, after the predecessor FedCDD).
    /// </summary>
    GaussianNoise,
}
