namespace FedICU;

/// <summary>
/// A strategy that can be chosen by name: on the command line, in configurations, through the bridges.
/// </summary>
/// <param name="Name">The name: lower-case letters, digits and hyphens.</param>
/// <param name="Summary">What the strategy does, in one sentence.</param>
/// <param name="Paper">Where it is from: authors and year; empty if it has no paper.</param>
/// <param name="Read">
/// Reads the strategy's options, and returns a function that creates its stages. The function throws
/// <see cref="InvalidOptionsException"/> if an option is out of its range.
/// </param>
public sealed record StrategyDescription(
    string Name, string Summary, string Paper, Func<OptionReader, Func<IReadOnlyList<Stage>>> Read)
{
    /// <summary>Gets the options, in the order in which <see cref="Read"/> reads them.</summary>
    public IReadOnlyList<OptionDescription> Options
    {
        get
        {
            if (field is null)
            {
                var reader = new OptionReader([]);
                Read(reader);
                field = reader.Options;
            }

            return field;
        }
    }
}
