using System.CommandLine;
using System.Globalization;
using FedICU.Text;

namespace FedICU.Cli;

/// <summary>The command <c>fedicu privacy</c>: computes epsilon of dp-fedavg's rounds.</summary>
internal sealed class PrivacyCommand : FedIcuCommand
{
    private readonly Option<string> _multiplier =
        Flags.Required("--noise-multiplier", "Z", "The noise's standard deviation over the clip norm, above 0.");

    private readonly Option<string> _rate =
        Flags.Required("--sampling-rate", "Q", "The probability with which a client takes part in a round, from 0 to 1.");

    private readonly Option<string> _delta = Flags.Required("--delta", "D", "delta of the guarantee, between 0 and 1.");

    private readonly Option<string> _rounds = Flags.Required("--rounds", "N", "The number of rounds, at least 0.");

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
        double multiplier = ReadNumber(line, _multiplier, value => value > 0 && double.IsFinite(value), "a finite number above 0");
        double rate = ReadNumber(line, _rate, value => value is >= 0 and <= 1, "a number from 0 to 1");
        double delta = ReadNumber(line, _delta, value => value is > 0 and < 1, "a number above 0 and below 1");
        long rounds = ReadRounds(line);
        (double epsilon, double order) = PrivacyAccountant.ComputeEpsilon(rate, multiplier, rounds, delta);
        Terminal.Line($"epsilon: {Numbers.Invariant(epsilon)}");
        Terminal.Line($"delta: {Numbers.Invariant(delta)}");
        Terminal.Line($"order: {Numbers.Invariant(order)}");
        return Task.FromResult(ExitCode.Done);
    }

    private static double ReadNumber(ParseResult line, Option<string> option, Predicate<double> holds, string expected)
    {
        string text = line.GetValue(option)!;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double value) && holds(value)
            ? value
            : throw new RefusedException($"{option.Name} is '{text}'; {expected} was expected.");
    }

    private long ReadRounds(ParseResult line)
    {
        string text = line.GetValue(_rounds)!;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long rounds)
            ? rounds
            : throw new RefusedException($"--rounds is '{text}'; a whole number of at least 0 was expected.");
    }
}
