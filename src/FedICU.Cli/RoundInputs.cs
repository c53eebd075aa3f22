namespace FedICU.Cli;

/// <summary>
/// What a command line says of a round without its strategy. Values that are read later are still texts.
/// </summary>
internal sealed record RoundInputs(string Global, string[] Typed, string? Listed, UpdateKind? Kind, Plugins Plugins)
{
    public string? Weights { get; init; }

    public string? BackendName { get; init; }

    public string? Threads { get; init; }

    public string? Round { get; init; }

    public IReadOnlyList<string> Settings { get; init; } = [];

    /// <summary>Reads the list of the clients. Opens no model.</summary>
    public ClientList ReadClients() => new(Typed, Listed, Global);

    /// <summary>Adds the number of threads and the round's number to options.</summary>
    public RoundOptions ReadOptions(RoundOptions options) =>
        options with { Threads = Flags.ReadThreads(Threads), Round = Flags.ReadRound(Round) };

    /// <summary>Creates the rule with the settings of the line and others.</summary>
    /// <param name="strategy">The strategies, joined by commas.</param>
    /// <param name="options">The options that the settings change.</param>
    /// <param name="others">Further settings.</param>
    public ConfiguredRound Configure(string strategy, RoundOptions options, params IEnumerable<KeyValuePair<string, string>> others)
    {
        KeyValuePair<string, string>[] settings = [.. Flags.ReadSettings([.. Settings]), .. others];
        return Plugins.Guard(strategy, () => Plugins.Registry.Create(strategy, settings, options));
    }

    /// <summary>Gives the clients the weights of the line, if it has some.</summary>
    public void WeighClients(ClientList clients, double maxWeight)
    {
        if (Weights is not null)
            clients.TakeWeights(Weights, maxWeight);
    }
}
