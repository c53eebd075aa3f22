using System.Globalization;
using System.Text.Json.Serialization;
using FedICU.Text;

namespace FedICU.Rounds.Sessions;

/// <summary>
/// A line of a session's journal. The first line states the global model; each other line adds a client, retracts one,
/// or seals the round.
/// </summary>
internal sealed record JournalLine
{
    /// <summary>First line: the version of the format.</summary>
    public int? Session { get; init; }

    /// <summary>First line: when the session was created. Version 1 does not have it.</summary>
    public DateTimeOffset? Begun { get; init; }

    /// <summary>
    /// First line: the digest of the session's global model. Added client: the digest of the model that its update was
    /// made against; null if it is not stated.
    /// </summary>
    public string? Base { get; init; }

    /// <summary>First line: the number of the round; null if it is unknown.</summary>
    public long? Round { get; init; }

    /// <summary>The client that was added.</summary>
    public string? Add { get; init; }

    /// <summary>Added client: its weight; null if neither caller nor file states one.</summary>
    public double? Weight { get; init; }

    /// <summary>Added client: the name of its update's <see cref="UpdateKind"/>.</summary>
    [JsonPropertyName("kind")]
    public string? KindName { get; init; }

    /// <summary>
    /// Added client: its update's kind; null if the line has none, or one that this version does not know.
    /// </summary>
    [JsonIgnore]
    public UpdateKind? Kind
    {
        get => KindName switch
        {
            nameof(UpdateKind.Full) => UpdateKind.Full,
            nameof(UpdateKind.Delta) => UpdateKind.Delta,
            nameof(UpdateKind.Sparse) => UpdateKind.Sparse,
            _ => null,
        };
        init => KindName = value?.ToString();
    }

    /// <summary>
    /// Added client: what the caller states about its training; null if nothing. What the update's metadata state is in
    /// its file. Versions before 3 do not have it.
    /// </summary>
    public ClientStatements? States { get; init; }

    /// <summary>Added client: the name of its update's file or adapter folder.</summary>
    public string? File { get; init; }

    /// <summary>Added client: the length of the file or files, in bytes.</summary>
    public long? Length { get; init; }

    /// <summary>Added client: the SHA-256 of those bytes.</summary>
    public string? Digest { get; init; }

    /// <summary>The client that was retracted.</summary>
    public string? Retract { get; init; }

    /// <summary>When the round was sealed. No client is added after this line.</summary>
    public DateTimeOffset? Closed { get; init; }

    /// <summary>
    /// Describes the fault of a line after the first, to follow "line 2" in a sentence; null if the line is valid by
    /// itself.
    /// </summary>
    public string? DescribeFault()
    {
        int statements = (Add is null ? 0 : 1) + (Retract is null ? 0 : 1) + (Closed is null ? 0 : 1);
        if (statements != 1 || Session is not null || Begun is not null || Round is not null)
            return "does not say one of: a client was added, a client was retracted, the round was sealed";
        if (Add is null)
            return null;
        if (Add.Length == 0)
            return "adds a client without an id";
        if (Kind is null)
            return $"has the kind {(KindName is null ? "null" : Sentence.Quote(KindName))}; Full, Delta or Sparse was expected";
        if (Length is null or < 0)
            return $"has the length {Length?.ToString(CultureInfo.InvariantCulture) ?? "null"}; 0 or more was expected";
        if (Digest is null)
            return "has no checksum of the update's bytes";
        return SessionSpool.IsName(File)
            ? null
            : $"has the file {(File is null ? "null" : Sentence.Quote(File))}; a name that a session gives was expected";
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, AllowDuplicateProperties = false,
    // a stated NaN is kept, so that the round refuses it as it would without a session
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(JournalLine))]
internal sealed partial class JournalJson : JsonSerializerContext;
