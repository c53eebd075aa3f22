using FedICU.Text;

namespace FedICU;

/// <summary>Options of FedProx.</summary>
public sealed record FedProxOptions
{
    /// <summary>
    /// Gets mu, the strength of the clients' proximal term mu/2 ||w - x||^2, finite and at least 0 (<c>mu</c>). It has
    /// no effect on the server's mean. <value>Default: 0.01.</value>
    /// </summary>
    public double Mu { get; init; } = 0.01;

    internal void Validate()
    {
        if (!(Mu >= 0 && double.IsFinite(Mu)))
            throw new InvalidOptionsException([$"mu is {Numbers.Invariant(Mu)}; a finite number of at least 0 was expected."]);
    }
}
