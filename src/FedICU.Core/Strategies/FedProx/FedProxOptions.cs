using FedICU.Text;

namespace FedICU;

/// <summary>Options of FedProx.</summary>
public sealed record FedProxOptions
{
    /// <summary>mu: the strength of the clients' proximal term, at least 0 (<c>mu</c>). <value>Default: 0.01.</value></summary>
    public double Mu { get; init; } = 0.01;

    internal void Validate()
    {
        if (!(Mu >= 0 && double.IsFinite(Mu)))
            throw new InvalidOptionsException([$"mu is {Numbers.Invariant(Mu)}; a finite number of at least 0 was expected."]);
    }
}
