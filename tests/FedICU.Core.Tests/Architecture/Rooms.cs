namespace FedICU.Tests.Architecture;

/// <summary>
/// The rooms of FedICU.Core, from the ground up, and which rooms each may know. docs/architecture.md shows the same.
/// </summary>
internal static class Rooms
{
    /// <summary>The files outside all folders: the types that describe a round.</summary>
    public const string Root = "(root)";

    /// <summary>
    /// The seam between the engine and the strategies. It is a room of its own inside the folder of the strategies.
    /// </summary>
    public const string Abstractions = "Strategies/Abstractions";

    /// <summary>Each room with the rooms that it may know. A room stands below all rooms that know it.</summary>
    public static IReadOnlyList<(string Room, string[] MayKnow)> Arrows { get; } =
    [
        ("Text", []),
        ("Errors", ["Text"]),
        ("Memory", []),
        ("Model", ["Text", "Errors", "Memory"]),
        ("Files", ["Text", "Errors", "Memory", "Model"]),
        ("Compute", ["Memory", "Model"]),
        ("Panels", ["Text", "Errors", "Memory", "Model", "Compute"]),
        ("Diagnostics", ["Text", "Errors", "Model", "Compute"]),
        (Root, ["Errors", "Model", "Files", "Compute", "Diagnostics"]),
        (Abstractions, ["Text", "Errors", "Memory", "Model", "Compute", "Panels", "Diagnostics"]),
        ("Rounds", ["Text", "Errors", "Memory", "Model", "Files", "Compute", "Panels", "Diagnostics", Root, Abstractions]),
        ("Strategies", ["Text", "Errors", "Memory", "Model", "Compute", "Panels", Root, Abstractions, "Rounds"]),
        ("Registry", ["Text", "Errors", "Model", "Panels", Root, Abstractions, "Strategies"]),
        ("Clients", ["Text", "Errors", "Memory", "Model", "Files", "Compute", "Panels", Root, "Strategies", "Registry"]),
    ];

    /// <summary>Arrows against the order, each with its reason. At most three.</summary>
    public static IReadOnlyList<(string From, string To, string Reason)> BackEdges { get; } =
    [
        (Abstractions, "Rounds", "TensorContext reads from the engine's run and its open clients (RoundRun, Participant)."),
    ];

    /// <summary>The room of a file.</summary>
    /// <param name="file">Its path from the project's folder.</param>
    public static string Of(string file)
    {
        string path = file.Replace('\\', '/');
        if (path.StartsWith(Abstractions + "/", StringComparison.Ordinal))
            return Abstractions;
        return path.Contains('/') ? path[..path.IndexOf('/')] : Root;
    }
}
