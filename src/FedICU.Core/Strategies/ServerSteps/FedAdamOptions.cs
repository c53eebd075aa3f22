using FedICU.Text;

namespace FedICU;

/// <summary>Options of FedAdam.</summary>
public sealed record FedAdamOptions
{
    /// <summary>
    /// Gets the server's learning rate eta, greater than 0 (<c>server-lr</c>). <value>Default: 0.1.</value>
    /// </summary>
    public double ServerLearningRate { get; init; } = 0.1;

    /// <summary>Gets the decay of the first moment, in [0, 1) (<c>beta1</c>). <value>Default: 0.9.</value></summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Gets the decay of the second moment, in [0, 1) (<c>beta2</c>). <value>Default: 0.99.</value></summary>
    public double Beta2 { get; init; } = 0.99;

    /// <summary>
    /// Gets tau, which is added to the root of the second moment, greater than 0 (<c>tau</c>). <value>Default:
    /// 0.001.</value>
    /// </summary>
    public double Tau { get; init; } = 1e-3;

    /// <summary>
    /// Gets the second moment before the first round, at least 0 (<c>v-init</c>). <value>Default: null (<c>tau2</c>),
    /// tau^2.</value>
    /// </summary>
    public double? InitialSecondMoment { get; init; }

    /// <summary>
    /// Gets the correction of the moments' bias (<c>bias-correction</c>). <value>Default:
    /// <see cref="BiasCorrection.None"/>.</value>
    /// </summary>
    public BiasCorrection BiasCorrection { get; init; }

    internal void Validate()
    {
        var errors = new List<string>();
        Require("server-lr", ServerLearningRate, ServerLearningRate > 0 && double.IsFinite(ServerLearningRate), "a finite number above 0");
        Require("beta1", Beta1, Beta1 is >= 0 and < 1, "a number of at least 0 and below 1");
        Require("beta2", Beta2, Beta2 is >= 0 and < 1, "a number of at least 0 and below 1");
        Require("tau", Tau, Tau > 0 && double.IsFinite(Tau), "a finite number above 0");
        if (InitialSecondMoment is { } initial)
            Require("v-init", initial, initial >= 0 && double.IsFinite(initial), "a finite number of at least 0, or tau2,");
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);

        void Require(string name, double value, bool holds, string expected)
        {
            if (!holds)
                errors.Add($"{name} is {Numbers.Invariant(value)}; {expected} was expected.");
        }
    }
}
