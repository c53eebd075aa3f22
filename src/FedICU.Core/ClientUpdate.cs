using System.Collections.Frozen;
using FedICU.Files;

namespace FedICU;

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
        return new(id, tensors.IsInMemory ? null : tensors.Location, examples, kind, baseDigest, _ => tensors, owned: false);
    }

    /// <summary>An update in a session's folder, with what its client said when it arrived.</summary>
    /// <param name="id">The client's name.</param>
    /// <param name="path">The file or adapter folder.</param>
    /// <param name="examples">The client's weight, null if none was stated.</param>
    /// <param name="kind">What the tensors mean, null if not stated.</param>
    /// <param name="baseDigest">The digest of the model that the update was made against, null if not stated.</param>
    /// <param name="fault">Why the update cannot be read: opening it throws this sentence. Null if it can.</param>
    internal static ClientUpdate FromSpool(string id, string path, double? examples, UpdateKind? kind, string? baseDigest, string? fault) =>
        new(id, path, examples, kind, baseDigest,
            files => fault is null ? TensorSource.Open(path, FileAccessMode.Read, files) : throw new InvalidModelException(fault), owned: true);

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
