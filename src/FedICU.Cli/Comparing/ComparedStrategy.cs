namespace FedICU.Cli.Comparing;

/// <summary>A strategy, or a chain of several, with the options that a comparison gives it.</summary>
/// <param name="Chain">The strategies, joined by commas as the registry expects them.</param>
/// <param name="Settings">The options in the order typed.</param>
internal sealed record ComparedStrategy(string Chain, IReadOnlyList<KeyValuePair<string, string>> Settings)
{
    /// <summary>Gets the name in tables: <c>krum+fedadam server-lr=0.1</c>.</summary>
    public string Name => string.Join(
        ' ', Settings.Select(setting => $"{setting.Key}={setting.Value}").Prepend(Chain.Replace(',', StrategyList.Join)));
}
