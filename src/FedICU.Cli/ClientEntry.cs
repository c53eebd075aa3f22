namespace FedICU.Cli;

/// <summary>A client of a command line: its id, the path of its update, and what the line or its list states.</summary>
internal sealed record ClientEntry(string Id, string Path)
{
    public double? Weight { get; init; }

    public UpdateKind? Kind { get; init; }

    public string? BaseDigest { get; init; }

    public ClientStatements Statements { get; init; } = new();
}
