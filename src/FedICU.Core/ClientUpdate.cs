using System.Collections.Frozen;
using System.Globalization;
using FedICU.Safetensors;

namespace FedICU;

/// <summary>What a client's tensors mean.</summary>
public enum UpdateKind
{
    /// <summary>The client's whole parameters, theta_k.</summary>
    Full,
    /// <summary>The difference theta_k - theta_g to the model it received.</summary>
    Delta,
    /// <summary>Packed values and bit masks: what is not sent keeps the received value (docs/adr/0006).</summary>
    Sparse,
}

/// <summary>One client's contribution to a round: who it is, how much it weighs, and its tensors in one of three forms.</summary>
public sealed class ClientUpdate
{
    private readonly Func<RoundFiles, TensorSource> _open;
    private readonly bool _owned;

    private ClientUpdate(string id, string? path, double? weight, UpdateKind? kind, string? baseDigest, Func<RoundFiles, TensorSource> open, bool owned)
    {
        ArgumentException.ThrowIfNullOrEmpty(id);
        (Id, Path, Weight, Kind, BaseDigest, _open, _owned) = (id, path, weight, kind, baseDigest, open, owned);
    }

    /// <summary>The client's name, unique in its round. Clients are combined in the ordinal order of their ids.</summary>
    public string Id { get; }

    /// <summary>The path of the update's file as given, null where it came from memory.</summary>
    internal string? Path { get; }

    /// <summary>The number of examples the client trained on; null: <c>num_examples</c> of its metadata, else 1.</summary>
    public double? Weight { get; }

    /// <summary>What the tensors mean; null: <c>fedicu.update</c> of the metadata, else <see cref="UpdateKind.Full"/>.</summary>
    public UpdateKind? Kind { get; }

    /// <summary>The digest of the model the update was made against; null: <c>fedicu.base</c> of the metadata, else not checked.</summary>
    public string? BaseDigest { get; }

    /// <summary>Tensors whose types the library does not have, by name: they cannot be read, and fall under <c>on-dtype</c>.</summary>
    internal IReadOnlyDictionary<string, string> UnknownTypes { get; private init; } = FrozenDictionary<string, string>.Empty;

    /// <summary>Why the weight that the client states is no number (<c>on-weight</c>); null where it is one, or none is stated.</summary>
    internal string? WeightFault { get; private init; }

    /// <summary>An update in a safetensors file, a sharded model or an adapter folder. It is opened when the round is checked, and closed with the round.</summary>
    /// <param name="id">The client's name.</param>
    /// <param name="path">The file, index or folder.</param>
    /// <param name="examples">The client's weight; null: from the file.</param>
    /// <param name="access">Mapped only for files that nobody truncates meanwhile.</param>
    /// <param name="kind">What the tensors mean; null: from the file's metadata.</param>
    public static ClientUpdate FromFile(
        string id, string path, double? examples = null, FileAccessMode access = FileAccessMode.Read, UpdateKind? kind = null) =>
        new(id, path, examples, kind, null, files => TensorSource.Open(path, access, files), owned: true);

    /// <summary>An update whose tensors are at hand: in memory or in an open file. The caller keeps them alive until the round is over.</summary>
    /// <param name="id">The client's name.</param>
    /// <param name="tensors">The tensors; borrowed.</param>
    /// <param name="examples">The client's weight; null: from the source's metadata.</param>
    /// <param name="kind">What the tensors mean; null: from the source's metadata.</param>
    /// <param name="baseDigest">The model it was made against, as <see cref="ModelDigest"/> writes it; null: from the source's metadata.</param>
    public static ClientUpdate FromTensors(
        string id, TensorSource tensors, double? examples = null, UpdateKind? kind = null, string? baseDigest = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return new(id, tensors.Location is "memory" ? null : tensors.Location, examples, kind, baseDigest, _ => tensors, owned: false);
    }

    /// <summary>An update in a session's folder, with all that was said of it when it came.</summary>
    /// <param name="id">The client's name.</param>
    /// <param name="path">The file or adapter folder.</param>
    /// <param name="said">Weight, kind and base.</param>
    /// <param name="fault">Why it cannot be read, in a sentence that opening it throws; null where it is whole.</param>
    internal static ClientUpdate FromSpool(string id, string path, JournalLine said, string? fault) => new(
        id, path, said.Weight, said.Kind, said.Base, files => fault is null ? TensorSource.Open(path, FileAccessMode.Read, files) : throw new InvalidModelException(fault), owned: true);

    /// <summary>A client whose update a bridge could not decode, or whose weight is no number: the round's policy decides.</summary>
    /// <param name="id">The client's name.</param>
    /// <param name="fault"><see cref="RoundFault.Unreadable"/> or <see cref="RoundFault.Weight"/>.</param>
    /// <param name="reason">What is wrong, in a sentence that begins after the client's name.</param>
    internal static ClientUpdate FromFault(string id, RoundFault fault, string reason) => fault == RoundFault.Weight
        ? new(id, null, null, null, null, _ => new MemoryModel(), owned: true) { WeightFault = reason }
        : new(id, null, null, null, null, _ => throw new InvalidModelException(reason), owned: false);

    /// <summary>An update whose tensors are at hand, some of which may be of types that the library does not have.</summary>
    /// <param name="id">The client's name.</param>
    /// <param name="tensors">The other tensors; borrowed.</param>
    /// <param name="examples">The client's weight; null: from the source's metadata.</param>
    /// <param name="kind">What the tensors mean; null: from the source's metadata.</param>
    /// <param name="unknownTypes">The types of those tensors, by the tensors' names.</param>
    internal static ClientUpdate FromTensors(
        string id, TensorSource tensors, double? examples, UpdateKind? kind, IReadOnlyDictionary<string, string> unknownTypes) =>
        new(id, null, examples, kind, null, _ => tensors, owned: false) { UnknownTypes = unknownTypes };

    /// <summary>Opens the tensors; the caller disposes what it must.</summary>
    internal (TensorSource Source, bool Owned) Open(RoundFiles files) => (_open(files), _owned);
}

/// <summary>Metadata keys that the library reads and writes (docs/getting-started.md; of packed updates docs/adr/0006).</summary>
public static class MetadataKeys
{
    /// <summary>full | delta | sparse.</summary>
    public const string Update = "fedicu.update";

    /// <summary>The digest of the model the update was made against.</summary>
    public const string Base = "fedicu.base";

    /// <summary>What a client's state is, <c>momentum</c>; absent in models and updates.</summary>
    public const string State = "fedicu.state";

    /// <summary>Prefix of the key that keeps a packed tensor's shape.</summary>
    public const string ShapePrefix = "fedicu.shape.";

    /// <summary>The client's number of examples.</summary>
    public const string Examples = "num_examples";

    /// <summary>The number of the round.</summary>
    public const string Round = "round";

    /// <summary>
    /// Which writing of a folder a shard belongs to. It describes the file, not the model: no source shows it (docs/adr/0015).
    /// </summary>
    internal const string Generation = "fedicu.generation";

    /// <summary>The checksum of the adapter_config.json that an adapter's weights belong to; shown by no source either.</summary>
    internal const string Config = "fedicu.config";

    /// <summary>A file's metadata without what they say of the file itself.</summary>
    internal static IReadOnlyDictionary<string, string> OfTheModel(IReadOnlyDictionary<string, string> metadata) =>
        metadata is PackedMetadata packed ? packed.Without(Generation, Config) : metadata;

    internal static string Text(this UpdateKind kind) => kind switch
    {
        UpdateKind.Full => "full",
        UpdateKind.Delta => "delta",
        UpdateKind.Sparse => "sparse",
        _ => throw new ArgumentOutOfRangeException(nameof(kind)),
    };

    internal static string Invariant(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
