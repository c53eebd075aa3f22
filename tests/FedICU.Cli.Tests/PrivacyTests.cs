namespace FedICU.Cli.Tests;

/// <summary>Runs <c>fedicu privacy</c>, and private rounds.</summary>
public sealed class PrivacyTests
{
    [Test]
    public void EpsilonIsComputed() => Assert.That(
        Tool.Run(Line("1.1", "0.01", "1000", "1e-5")).Succeeded().Lines, Does.Contain("epsilon: 1.7117700912181846"));

    [TestCase("x", "0.1", "1", "1e-5", "--noise-multiplier is 'x'; a finite number above 0 was expected.")]
    [TestCase("0", "0.1", "1", "1e-5", "--noise-multiplier is '0'; a finite number above 0 was expected.")]
    [TestCase("1,1", "0.1", "1", "1e-5", "--noise-multiplier is '1,1'; a finite number above 0 was expected.")]
    [TestCase("1", "2", "1", "1e-5", "--sampling-rate is '2'; a number from 0 to 1 was expected.")]
    [TestCase("1", "NaN", "1", "1e-5", "--sampling-rate is 'NaN'; a number from 0 to 1 was expected.")]
    [TestCase("1", "0.1", "-1", "1e-5", "--rounds is '-1'; a whole number of at least 0 was expected.")]
    [TestCase("1", "0.1", "1.5", "1e-5", "--rounds is '1.5'; a whole number of at least 0 was expected.")]
    [TestCase("1", "0.1", "1", "1", "--delta is '1'; a number above 0 and below 1 was expected.")]
    public void WrongNumbersAreRefused(string multiplier, string rate, string rounds, string delta, string sentence) =>
        Tool.Run(Line(multiplier, rate, rounds, delta)).Failed(1, "fedicu: " + sentence);

    [Test]
    public void APrivateRoundShowsNothingOfAClient()
    {
        using var place = new Place();
        string[] round =
        [
            "--strategy", "dp-fedavg", "--set", "clip-norm=1", "--set", "noise-multiplier=1", "--global", place.Global,
            "--client", "hospital=" + place.A, "--client", "clinic=" + place.B,
        ];
        Run made = Tool.Run(["aggregate", .. round, "--output", place["out.safetensors"]]).Succeeded();
        Run check = Tool.Run(["aggregate", .. round, "--check"]).Succeeded(), explained = Tool.Run(["explain", .. round]).Succeeded();
        Assert.That(made.Output, Does.Contain("dp-fedavg: 2 of 2 clients"));
        foreach (Run run in (Run[])[made, check, explained])
        {
            Assert.That(run.Output, Does.Not.Contain("hospital").And.Not.Contain("clinic").And.Not.Contain("bytes")
                .And.Not.Contain("%"));
        }
    }

    private static string[] Line(string multiplier, string rate, string rounds, string delta) =>
    [
        "privacy", "--noise-multiplier", multiplier, "--sampling-rate", rate, "--rounds", rounds, "--delta", delta,
    ];
}
