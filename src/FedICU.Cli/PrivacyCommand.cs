using System.CommandLine;
using FedICU.Text;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu privacy</c>: computes epsilon of dp-fedavg's rounds.</summary>
internal sealed class PrivacyCommand : FedIcuCommand
{
    private readonly Option<double> _multiplier =
        Number("--noise-multiplier", "Z", "The noise's standard deviation over the clip norm, above 0.");

    private readonly Option<double> _rate =
        Number("--sampling-rate", "Q", "The probability with which a client takes part in a round, from 0 to 1.");

    private readonly Option<double> _delta = Number("--delta", "D", "delta of the guarantee, between 0 and 1.");

    private readonly Option<long> _rounds = new("--rounds")
    {
        Description = "The number of rounds, at least 0.",
        HelpName = "N",
        Required = true,
    };

    public PrivacyCommand(Terminal terminal) : base("privacy", "Computes the privacy (epsilon) that rounds of dp-fedavg give.", terminal)
    {
        Add(_multiplier);
        Add(_rate);
        Add(_rounds);
        Add(_delta);
    }

    public override IReadOnlyList<string> Examples =>
        ["fedicu privacy --noise-multiplier 1.1 --sampling-rate 0.01 --rounds 1000 --delta 1e-5"];

    protected override Task<int> RunAsync(ParseResult line, CancellationToken cancellationToken)
    {
        double multiplier = line.GetValue(_multiplier), rate = line.GetValue(_rate), delta = line.GetValue(_delta);
        long rounds = line.GetValue(_rounds);
        Require("--noise-multiplier", multiplier, multiplier > 0 && double.IsFinite(multiplier), "a finite number above 0");
        Require("--sampling-rate", rate, rate is >= 0 and <= 1, "a number from 0 to 1");
        Require("--delta", delta, delta is > 0 and < 1, "a number above 0 and below 1");
        Require("--rounds", rounds, rounds >= 0, "a whole number of at least 0");
        (double epsilon, double order) = PrivacyAccountant.ComputeEpsilon(rate, multiplier, rounds, delta);
        Terminal.Line($"epsilon: {Numbers.Invariant(epsilon)}");
        Terminal.Line($"delta: {Numbers.Invariant(delta)}");
        Terminal.Line($"order: {Numbers.Invariant(order)}");
        return Task.FromResult(ExitCode.Done);
    }

    private static Option<double> Number(string name, string help, string description) =>
        new(name) { Description = description, HelpName = help, Required = true };

    private static void Require(string name, double value, bool holds, string expected)
    {
        if (!holds)
            throw new UsageException($"{name} is {Numbers.Invariant(value)}; {expected} was expected.");
    }
}
