using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of FLTrust.</summary>
public sealed record FlTrustOptions
{
    /// <summary>
    /// Gets the path of the root: the model that the server trained on its own clean data (<c>root</c>). Required.
    /// </summary>
    public required string Root { get; init; }

    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    internal void Validate() => new OptionErrors()
        .Add(string.IsNullOrEmpty(Root) ? "root is missing; the model that the server trained was expected." : null)
        .RequirePositive("server-lr", ServerLearningRate).Throw();
}
