using System.Text.Json.Serialization;

namespace FedICU.Fedn;

/// <summary>A round as it is written to <c>round.json</c>.</summary>
internal sealed record RoundRecord
{
    /// <summary>The version of the format that this class writes.</summary>
    public const int CurrentVersion = 1;

    public required int Version { get; init; }

    /// <summary>The host and port that the combiner calls.</summary>
    public required string Combiner { get; init; }

    public FileRecord? Global { get; init; }

    /// <summary>The SHA-256 of the global model as it was sent.</summary>
    public string? GlobalDigest { get; init; }

    public FileRecord? Result { get; init; }

    public required IReadOnlyList<ClientRecord> Clients { get; init; }

    /// <summary>A file of the round.</summary>
    /// <param name="Name">The name in the round's folder.</param>
    /// <param name="Length">The number of bytes.</param>
    /// <param name="Checksum">The XXH128 of the bytes.</param>
    internal sealed record FileRecord(string Name, long Length, string Checksum);

    /// <summary>What a client has sent: <see cref="ClientEntry"/>.</summary>
    internal sealed record ClientRecord
    {
        public required string Id { get; init; }

        public bool HasMetadata { get; init; }

        public double? Examples { get; init; }

        public string? MetadataFault { get; init; }

        public FileRecord? File { get; init; }

        public string? Fault { get; init; }
    }
}

[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingDefault,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow, AllowDuplicateProperties = false,
    // a weight that cannot be read is NaN
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals)]
[JsonSerializable(typeof(RoundRecord))]
internal sealed partial class RoundRecordJson : JsonSerializerContext;
