using FedICU.Text;

namespace FedICU.Strategies.Abstractions;

/// <summary>Collects the errors of a stage's options.</summary>
internal sealed class OptionErrors
{
    private readonly List<string> _errors = [];

    /// <summary>Adds an error unless the value holds.</summary>
    public OptionErrors Require(string name, double value, bool holds, string expected)
    {
        if (!holds)
            _errors.Add($"{name} is {Numbers.Invariant(value)}; {expected} was expected.");
        return this;
    }

    /// <summary>Requires a finite number above 0.</summary>
    public OptionErrors RequirePositive(string name, double value) =>
        Require(name, value, value > 0 && double.IsFinite(value), "a finite number above 0");

    /// <summary>Requires a finite number of at least 0.</summary>
    public OptionErrors RequireNotNegative(string name, double value) =>
        Require(name, value, value >= 0 && double.IsFinite(value), "a finite number of at least 0");

    /// <summary>Requires a number in [0, 1).</summary>
    public OptionErrors RequireDecay(string name, double value) =>
        Require(name, value, value is >= 0 and < 1, "a number of at least 0 and below 1");

    /// <summary>Refuses an option that the other options leave without effect.</summary>
    /// <param name="name">The option's name.</param>
    /// <param name="isUnused">Whether it is given and has no effect.</param>
    /// <param name="reason">Names the other option: <c>without delta</c>.</param>
    public OptionErrors RefuseUnused(string name, bool isUnused, string reason) =>
        Add(isUnused ? DescribeUnused(name, reason) : null);

    /// <summary>Says that other options leave an option without effect.</summary>
    public static string DescribeUnused(string name, string reason) => $"Option '{name}' has no effect {reason}.";

    /// <summary>Requires a scaling of LoRA pairs to be finite and not 0.</summary>
    public OptionErrors RequireScaling(double? scaling) => scaling is { } value
        ? Require("lora-scaling", value, value != 0 && double.IsFinite(value), "a finite number other than 0")
        : this;

    /// <summary>Adds a sentence of its own.</summary>
    public OptionErrors Add(string? sentence)
    {
        if (sentence is not null)
            _errors.Add(sentence);
        return this;
    }

    /// <exception cref="InvalidOptionsException">There are errors.</exception>
    public void Throw()
    {
        if (_errors.Count > 0)
            throw new InvalidOptionsException(_errors);
    }
}
