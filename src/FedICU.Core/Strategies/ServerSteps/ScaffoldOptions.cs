using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>Options of SCAFFOLD.</summary>
public sealed record ScaffoldOptions
{
    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 1;

    /// <summary>
    /// Gets M, the number of all clients, at least those of the round (<c>population</c>). <value>Default: null
    /// (<c>auto</c>), those of the round.</value>
    /// </summary>
    public long? Population { get; init; }

    /// <summary>
    /// Gets where the change of a client's control variate comes from (<c>control</c>). <value>Default:
    /// <see cref="ScaffoldControl.Sent"/>.</value>
    /// </summary>
    public ScaffoldControl Control { get; init; }

    /// <summary>
    /// Gets the clients' learning rate, greater than 0 (<c>local-lr</c>). <see cref="ScaffoldControl.Derived"/> needs
    /// it. <value>Default: null.</value>
    /// </summary>
    public double? LocalLearningRate { get; init; }

    /// <summary>
    /// Gets how the changes are added (<c>control-update</c>). <value>Default: <see cref="ControlUpdate.Sum"/>.</value>
    /// </summary>
    public ControlUpdate ControlUpdate { get; init; }

    /// <summary>
    /// Gets how the clients weigh (<c>weighting</c>). <value>Default: <see cref="Weighting.Uniform"/>.</value>
    /// </summary>
    public Weighting Weighting { get; init; } = Weighting.Uniform;

    internal void Validate() => new OptionErrors()
        .RequirePositive("server-lr", ServerLearningRate).RequirePositive("local-lr", LocalLearningRate ?? 1)
        .Add(Control == ScaffoldControl.Derived && LocalLearningRate is null
            ? "local-lr is missing; control=derived needs the clients' learning rate." : null)
        .RefuseUnused("local-lr", Control != ScaffoldControl.Derived && LocalLearningRate is not null, "without control=derived")
        .RefuseUnused("population", ControlUpdate == ControlUpdate.Mean && Population is not null, "with control-update=mean")
        .Add(Strategies.ServerSteps.Population.Describe(Population)).Throw();
}
