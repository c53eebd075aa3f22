using FedICU.Text;

namespace FedICU.Tests;

/// <summary>Tests which known name is suggested for a mistyped one.</summary>
internal sealed class SuggestionTests
{
    private static readonly string[] Known = ["mu", "fedavg", "fedadam", "krum", "server-lr", "tau"];

    [TestCase("fedadm", "fedadam")] // one is missing
    [TestCase("krrum", "krum")] // one is too many
    [TestCase("server_lr", "server-lr")] // another character
    [TestCase("tua", "tau")] // two are swapped
    [TestCase("krum.tua", null)]
    [TestCase("median", null)]
    [TestCase("m", "mu")]
    [TestCase("x", null)]
    [TestCase("tau", null)] // known, but not here: itself is no suggestion
    [TestCase("", null)]
    public void TheNearestNameIsFound(string typed, string? expected) =>
        Assert.That(Suggestion.FindNearest(typed, Known), Is.EqualTo(expected));

    [Test]
    public void OfEquallyNearNamesTheFirstIsTaken() =>
        Assert.That(Suggestion.FindNearest("fedx", ["fedb", "feda"]), Is.EqualTo("feda"));

    [Test]
    public void ALongNameIsNotCompared() =>
        Assert.That(Suggestion.FindNearest(new string('x', 65), [new string('x', 64)]), Is.Null);

    [TestCase("krum,fedadam", "krum.byzantien", "Option 'krum.byzantien' is unknown; did you mean 'krum.byzantine'? ")]
    [TestCase("fedadam", "server_lr", "Option 'server_lr' is unknown; did you mean 'server-lr'? ")]
    [TestCase("fedadam", "nonsense-name", "Option 'nonsense-name' is unknown; balance, ")]
    [TestCase("krum,fedadm", "tau", "The strategy 'fedadm' is unknown; did you mean 'fedadam'? fedavg, ")]
    public void TheRegistryAsksAboutNames(string strategy, string option, string sentence) => Assert.That(
        () => StrategyRegistry.Default.Create(strategy, [new(option, "1")]),
        Throws.TypeOf<InvalidOptionsException>().With.Message.StartWith(sentence));
}
