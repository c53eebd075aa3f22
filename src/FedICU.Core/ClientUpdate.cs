using System.Collections.Frozen;
using FedICU.Files;

namespace FedICU;

/// <summary>
/// One client's update in a round: the client's id, its weight, and its tensors in one of three forms.
/// </summary>
public sealed class ClientUpdate
{
    private readonly Func<RoundFiles, TensorSource> _open;
    private readonly bool _owned;

    private ClientUpdate(
        string id, string? path, double? weight, UpdateKind? kind, string? baseDigest, Func<RoundFiles, TensorSource> open, bool owned)
    {
        ArgumentException.ThrowIfNullOrEmpty(id);
        (Id, Path, Weight, Kind, BaseDigest, _open, _owned) = (id, path, weight, kind, baseDigest, open, owned);
    }

    /// <summary>The client's id, unique in its round. Clients are combined in the ordinal order of their ids.</summary>
    public string Id { get; }

    /// <summary>The given path of the update's file; null if the update is in memory.</summary>
    internal string? Path { get; }

    /// <summary>
    /// The number of examples the client trained on; null: <c>num_examples</c> in its metadata, else 1.
    /// </summary>
    public double? Weight { get; }

    /// <summary>
    /// What the tensors mean; null: <c>fedicu.update</c> in the metadata, else <see cref="UpdateKind.Full"/>.
    /// </summary>
    public UpdateKind? Kind { get; }

    /// <summary>
    /// The digest of the model the update was made against; null: <c>fedicu.base</c> in the metadata. If that is
    /// missing too, the base is not checked.
    /// </summary>
    public string? BaseDigest { get; }

    /// <summary>What the client states about its training; null members: from the update's metadata.</summary>
    public ClientStatements Statements { get; private set; } = new();

    /// <summary>
    /// Statements as a bridge received them, by their metadata keys. They stand in for the update's metadata, so that a
    /// text that is no number is the client's fault.
    /// </summary>
    internal IReadOnlyDictionary<string, string> StatedTexts { get; private set; } = FrozenDictionary<string, string>.Empty;

    /// <summary>
    /// The unsupported types of tensors that cannot be read, by the tensors' names; <c>on-dtype</c> applies to them.
    /// </summary>
    internal IReadOnlyDictionary<string, string> UnknownTypes { get; private init; } = FrozenDictionary<string, string>.Empty;

    /// <summary>
    /// Why the weight that the client states is not a number (<c>on-weight</c>); null if it is one, or none is stated.
    /// </summary>
    internal string? WeightFault { get; private init; }

    /// <summary>
    /// Creates an update in a safetensors file, a sharded model or an adapter folder. The round opens it for its check
    /// and closes it at its end.
    /// </summary>
    /// <param name="id">The client's id.</param>
    /// <param name="path">The file, index or folder.</param>
    /// <param name="examples">The client's weight; null: from the file's metadata.</param>
    /// <param name="access">How the file is read. Map only files that no program truncates during the round.</param>
    /// <param name="kind">What the tensors mean; null: from the file's metadata.</param>
    /// <param name="baseDigest">
    /// The digest of the model that the update was made against, as <see cref="ModelDigest"/> writes it; null: from the
    /// file's metadata.
    /// </param>
    /// <param name="statements">What the client states about its training; null: from the file's metadata.</param>
    public static ClientUpdate FromFile(
        string id, string path, double? examples = null, FileAccessMode access = FileAccessMode.Read, UpdateKind? kind = null,
        string? baseDigest = null, ClientStatements? statements = null) =>
        new(id, path, examples, kind, baseDigest, files => TensorSource.Open(path, access, files), owned: true)
        {
            Statements = statements ?? new(),
        };

    /// <summary>
    /// Creates an update from tensors in memory or in an open file. The caller keeps them open until the round is over.
    /// </summary>
    /// <param name="id">The client's id.</param>
    /// <param name="tensors">The tensors; borrowed.</param>
    /// <param name="examples">The client's weight; null: from the source's metadata.</param>
    /// <param name="kind">What the tensors mean; null: from the source's metadata.</param>
    /// <param name="baseDigest">
    /// The digest of the model that the update was made against, as <see cref="ModelDigest"/> writes it; null: from the
    /// source's metadata.
    /// </param>
    /// <param name="statements">What the client states about its training; null: from the source's metadata.</param>
    public static ClientUpdate FromTensors(
        string id, TensorSource tensors, double? examples = null, UpdateKind? kind = null, string? baseDigest = null,
        ClientStatements? statements = null)
    {
        ArgumentNullException.ThrowIfNull(tensors);
        return new(id, tensors.IsInMemory ? null : tensors.Location, examples, kind, baseDigest, _ => tensors, owned: false)
        {
            Statements = statements ?? new(),
        };
    }

    /// <summary>Creates an update from a session's folder, with what its client stated on arrival.</summary>
    /// <param name="id">The client's id.</param>
    /// <param name="path">The file or adapter folder.</param>
    /// <param name="examples">The client's weight; null if none was stated.</param>
    /// <param name="kind">What the tensors mean; null if it was not stated.</param>
    /// <param name="baseDigest">
    /// The digest of the model that the update was made against; null if it was not stated.
    /// </param>
    /// <param name="statements">What was stated about its training; null: only what its metadata state.</param>
    /// <param name="fault">
    /// Why the update cannot be read: opening it throws this sentence. Null if it can be read.
    /// </param>
    internal static ClientUpdate FromSpool(
        string id, string path, double? examples, UpdateKind? kind, string? baseDigest, ClientStatements? statements, string? fault) =>
        new(id, path, examples, kind, baseDigest,
            files => fault is null
                ? TensorSource.Open(path, FileAccessMode.Read, files)
                : throw new InvalidModelException(fault),
            owned: true)
        {
            Statements = statements ?? new(),
        };

    /// <summary>
    /// Creates an update that a session is receiving. Messages call it by its client alone: its file is temporary.
    /// </summary>
    /// <param name="id">The client's id.</param>
    /// <param name="path">The file.</param>
    /// <param name="examples">The client's weight; null: from the file's metadata.</param>
    /// <param name="statements">What the client states about its training; null: from the file's metadata.</param>
    internal static ClientUpdate FromUpload(string id, string path, double? examples, ClientStatements? statements) =>
        new(id, null, examples, null, null, files => TensorSource.Open(path, FileAccessMode.Read, files), owned: true)
        {
            Statements = statements ?? new(),
        };

    /// <summary>
    /// Creates an update that a bridge could not decode, or whose weight is not a number. The round's policy decides
    /// what happens to it.
    /// </summary>
    /// <param name="id">The client's id.</param>
    /// <param name="fault"><see cref="RoundFault.Unreadable"/> or <see cref="RoundFault.Weight"/>.</param>
    /// <param name="reason">What is wrong: the rest of a sentence that begins with the client's name.</param>
    internal static ClientUpdate FromFault(string id, RoundFault fault, string reason) => fault == RoundFault.Weight
        ? new(id, null, null, null, null, _ => new MemoryModel(), owned: true) { WeightFault = reason }
        : new(id, null, null, null, null, _ => throw new InvalidModelException(reason), owned: false);

    /// <summary>
    /// Creates an update from tensors, and from the names of tensors whose types the library does not support.
    /// </summary>
    /// <param name="id">The client's id.</param>
    /// <param name="tensors">The tensors of supported types; borrowed.</param>
    /// <param name="examples">The client's weight; null: from the source's metadata.</param>
    /// <param name="kind">What the tensors mean; null: from the source's metadata.</param>
    /// <param name="unknownTypes">The unsupported types, by the tensors' names.</param>
    internal static ClientUpdate FromTensors(
        string id, TensorSource tensors, double? examples, UpdateKind? kind, IReadOnlyDictionary<string, string> unknownTypes) =>
        new(id, null, examples, kind, null, _ => tensors, owned: false) { UnknownTypes = unknownTypes };

    /// <summary>Returns the same update with other statements.</summary>
    /// <param name="texts">Values by their metadata keys.</param>
    /// <param name="statements">The statements that have no text.</param>
    internal ClientUpdate WithStatements(IReadOnlyDictionary<string, string> texts, ClientStatements statements)
    {
        var copy = (ClientUpdate)MemberwiseClone();
        (copy.StatedTexts, copy.Statements) = (texts, statements);
        return copy;
    }

    /// <summary>Opens the tensors. The caller disposes the source if it is owned.</summary>
    internal (TensorSource Source, bool Owned) Open(RoundFiles files) => (_open(files), _owned);
}
