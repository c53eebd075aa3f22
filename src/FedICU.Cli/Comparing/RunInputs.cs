namespace FedICU.Cli.Comparing;

/// <summary>What a run's model depends on. A run whose inputs have changed is run again.</summary>
/// <param name="Tool">The version of the tool.</param>
/// <param name="Strategy">The strategies, joined by commas; empty for the global model itself.</param>
/// <param name="Options">All options that change the result, and the stamps of files that they name.</param>
/// <param name="Global">The stamps of the global model's files.</param>
/// <param name="Clients">What is stated about the clients, and the stamps of their files.</param>
internal sealed record RunInputs(string Tool, string Strategy, string Options, string Global, string Clients)
{
    /// <summary>Names what has changed since another run.</summary>
    public IReadOnlyList<string> FindChanges(RunInputs before)
    {
        (string Name, bool IsSame)[] parts =
        [
            ("the tool's version", Tool == before.Tool), ("the strategy", Strategy == before.Strategy),
            ("an option", Options == before.Options), ("the global model", Global == before.Global),
            ("a client", Clients == before.Clients),
        ];
        return [.. parts.Where(part => !part.IsSame).Select(part => part.Name)];
    }
}
