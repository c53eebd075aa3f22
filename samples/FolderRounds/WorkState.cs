using System.Text.Json.Serialization;

namespace FolderRounds;

/// <summary>
/// The worker's current step, saved before it is done, so that the next worker can complete it after a crash.
/// </summary>
internal sealed record WorkState
{
    /// <summary>The name of the round's folder.</summary>
    public required string Round { get; init; }

    /// <summary>The digest of the global model that the round began with.</summary>
    public string? Base { get; init; }

    /// <summary>The number of workers that have begun the round, including this one.</summary>
    public int Attempts { get; init; }

    /// <summary>The round's report, saved before the new global model is published.</summary>
    public string? Report { get; init; }

    /// <summary>The reason why the round moves to <c>failed</c>.</summary>
    public string? Refusal { get; init; }

    /// <summary>The folder's name in <c>failed</c>.</summary>
    public string? Place { get; init; }
}

[JsonSerializable(typeof(WorkState))]
internal sealed partial class WorkStateJson : JsonSerializerContext;
