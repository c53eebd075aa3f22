using System.Globalization;
using FedICU.Compute;
using FedICU.Files;
using FedICU.Model;
using FedICU.Panels;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>A client in the course of a round: its opened tensors, and whether it still takes part.</summary>
internal sealed class Participant(ClientUpdate update, TensorNames names) : IDisposable
{
    private TensorSource? _source;
    private bool _owned;
    private long _bytesOfPacked;
    // a sparse update's tensors, packed ones by their whole shape, or all tensors where names are compared without prefixes; otherwise the
    // source knows them
    private Dictionary<string, TensorInfo>? _tensors;
    private Dictionary<string, (SparseUpdate.Packed Parts, SparseMask Mask)> _packed = [];

    public string Id => update.Id;

    /// <summary>What sentences call the client where they name its file anyway.</summary>
    public string Name => $"Client {Sentence.Quote(Id)}";

    /// <summary>What sentences call the client: its id, and its file where that is called otherwise.</summary>
    public string Who => update.Path is null || update.Path == Id ? Name : $"{Name} ({Sentence.Quote(update.Path)})";

    public double Weight { get; set; }

    /// <summary>Neither the caller nor the update states a weight.</summary>
    public bool IsSilent { get; set; }

    /// <summary>Why the client was left out, null while it takes part.</summary>
    public string? Exclusion { get; set; }

    /// <summary>Left out for a weight of 0; the quorum does not count it.</summary>
    public bool WeighsNothing { get; set; }

    public UpdateKind Kind { get; private set; }

    /// <summary>The kind that the update states where the caller says another; else null.</summary>
    public string? ContradictedKind { get; private set; }

    public string? BaseDigest { get; private set; }

    /// <summary>The opened tensors as they were sent.</summary>
    public TensorSource Source => _source!;

    /// <summary>The adapter's configuration, null where the update is no adapter's folder.</summary>
    public PeftAdapterConfig? AdapterConfig => (_source as PeftAdapter)?.Config;

    /// <summary>The tensors the update stands for, packed ones by their whole shape.</summary>
    public IReadOnlyCollection<TensorInfo> Tensors => (IReadOnlyCollection<TensorInfo>?)_tensors?.Values ?? _source?.Tensors ?? [];

    /// <summary>Tensors that were sent in types that the library does not have, by their names without prefixes.</summary>
    public IReadOnlyDictionary<string, string> UnknownTypes { get; } = update.UnknownTypes.Count == 0
        ? update.UnknownTypes
        : update.UnknownTypes.GroupBy(tensor => names.Strip(tensor.Key), StringComparer.Ordinal)
            .ToDictionary(same => same.Key, same => same.First().Value, StringComparer.Ordinal);

    /// <summary>The update's tensor for one of the global model: of that name, or of the name that the metadata tie it to.</summary>
    public TensorInfo? Find(string name) => _tensors is null ? _source?.FindTied(name) : _tensors.GetValueOrDefault(KeyOf(name));

    /// <summary>The same for the tensor that has a number in the global model: as a rule it has the same number here, and need not be looked up.</summary>
    public TensorInfo? Find(string name, int number) =>
        _tensors is null && _source?.Tensors is { } tensors && number < tensors.Count && tensors[number] is var here && here.Name == name ? here : Find(name);

    /// <summary>Bytes of files that the round opened.</summary>
    public long BytesInFiles => _owned ? BytesSent : 0;

    public long BytesSent { get; private set; }

    /// <summary>Bytes that the whole model takes in the client's types.</summary>
    public long BytesFull => !IsOpen ? 0 : Kind == UpdateKind.Sparse ? _bytesOfPacked : BytesSent;

    /// <summary>Whether the update was opened and understood.</summary>
    public bool IsOpen { get; private set; }

    public bool IsPacked(TensorInfo tensor) => _packed.ContainsKey(names.Strip(tensor.Name));

    /// <summary>Opens the tensors and reads what the metadata say of them.</summary>
    /// <exception cref="InvalidModelException">The update cannot be read.</exception>
    public void Open(TensorSource global, RoundFiles files, CancellationToken cancellationToken)
    {
        (_source, _owned) = update.Open(files);
        BytesSent = _source.TotalBytes;
        if (_source.Metadata.TryGetValue(MetadataKeys.State, out string? state))
            throw new InvalidModelException($"'{_source.Location}': metadata '{MetadataKeys.State}' is '{state}', a client's state; an update was expected.");
        string? stated = _source.Metadata.GetValueOrDefault(MetadataKeys.Update);
        Kind = update.Kind ?? stated switch
        {
            null or "full" => UpdateKind.Full,
            "delta" => UpdateKind.Delta,
            "sparse" => UpdateKind.Sparse,
            _ => throw new InvalidModelException(
                $"'{_source.Location}': metadata '{MetadataKeys.Update}' is {Sentence.Quote(stated)}; full, delta or sparse was expected."),
        };
        ContradictedKind = update.Kind is { } said && stated is not null && stated != said.Text() ? Sentence.Quote(stated) : null;
        BaseDigest = update.BaseDigest ?? _source.Metadata.GetValueOrDefault(MetadataKeys.Base);
        if (Kind == UpdateKind.Sparse)
            Unpack(_source, global, cancellationToken);
        else if (!names.AreExact)
            _tensors = names.Index(_source, _source.Tensors);
        IsOpen = true;
    }

    /// <summary>The weight that the update itself states, null where it does not.</summary>
    /// <exception cref="InvalidModelException">It is no number.</exception>
    public double? StatedWeight()
    {
        if (update.WeightFault is { } fault)
            throw new InvalidModelException(fault);
        if (update.Weight is { } weight)
            return weight;
        if (!_source!.Metadata.TryGetValue(MetadataKeys.Examples, out string? text))
            return null;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double examples)
            ? examples
            : throw new InvalidModelException($"'{_source.Location}': metadata '{MetadataKeys.Examples}' is {Sentence.Quote(text)}; a number was expected.");
    }

    /// <summary>The round that the update says it is of, where that is not <paramref name="round"/>; else null.</summary>
    public string? OtherRound(long round) =>
        _source!.Metadata.TryGetValue(MetadataKeys.Round, out string? text) &&
        !(long.TryParse(text, NumberStyles.Integer, CultureInfo.InvariantCulture, out long stated) && stated == round) ? text : null;

    /// <summary>The share of a tensor's entries that were sent.</summary>
    public double ShareSent(TensorInfo tensor) =>
        _packed.TryGetValue(KeyOf(tensor.Name), out var packed) && tensor.ElementCount > 0
            ? (double)packed.Mask.Count / tensor.ElementCount
            : 1;

    /// <summary>Opens a tensor.</summary>
    /// <param name="tensor">The global model's tensor.</param>
    /// <param name="number">Its number there.</param>
    /// <param name="form">What is to be read.</param>
    /// <param name="global">The global model's values.</param>
    /// <param name="backend">What computes one form of the other.</param>
    /// <param name="onDevice">Whether panels may lie on a device; of whole tensors only.</param>
    /// <param name="spare">What was opened before over the same global values in the same form, and is no longer used: opened again where it can be.</param>
    public PanelReader OpenReader(TensorInfo tensor, int number, UpdateForm form, DensePanelReader global, IComputeBackend backend, PanelReader? spare, bool onDevice)
    {
        PanelReader parameters;
        if (_packed.TryGetValue(KeyOf(tensor.Name), out var packed))
        {
            PanelReader values = OpenPart(packed.Parts.Values, tensor);
            try
            {
                parameters = new SparsePanelReader(global, values, OpenPart(packed.Parts.Mask, tensor), packed.Mask);
            }
            catch
            {
                values.Dispose();
                throw;
            }
        }
        else
        {
            parameters = OpenWhole(tensor, number, (spare as SumPanelReader)?.First ?? spare, onDevice);
            if (Kind == UpdateKind.Delta)
                return form == UpdateForm.Delta ? parameters : Sum(1);
        }

        return form == UpdateForm.Parameters ? parameters : Sum(-1);

        PanelReader Sum(double sign) => spare is SumPanelReader sum && sum.First == parameters ? sum : new SumPanelReader(parameters, global, sign, backend);
    }

    /// <summary>Opens a tensor as it was sent, which is whole.</summary>
    public PanelReader OpenWhole(TensorInfo tensor, int number, PanelReader? spare, bool onDevice = false)
    {
        TensorInfo part = Find(tensor.Name, number)!;
        if (spare is not DensePanelReader reader)
            return new DensePanelReader(_source!, part, (Id, tensor.Name), number, onDevice);
        reader.Open(_source!, part, (Id, tensor.Name), number, onDevice);
        return reader;
    }

    /// <summary>Closes the update and frees what its headers take; what the report says of it stays.</summary>
    public void Dispose()
    {
        if (_owned)
            _source?.Dispose();
        (_source, _tensors, _packed) = (null, null, []);
    }

    private void Unpack(TensorSource source, TensorSource global, CancellationToken cancellationToken)
    {
        if (global.Tensors.FirstOrDefault(tensor => SparseUpdate.IsPart(tensor.Name)) is { } part)
        {
            throw new InvalidModelException(
                $"'{source.Location}': a sparse update of a model whose tensor {Sentence.Quote(part.Name)} is called like a part of a packed one; a full update or a delta was expected.");
        }

        if (BaseDigest is null)
            throw new InvalidModelException($"'{source.Location}': a sparse update without '{MetadataKeys.Base}' in its metadata cannot be unpacked.");
        (List<TensorInfo> tensors, Dictionary<string, SparseUpdate.Packed> packed) = SparseUpdate.Describe(source, global);
        _tensors = names.Index(source, tensors);
        foreach (TensorInfo tensor in tensors)
        {
            if (tensor.ByteLength > long.MaxValue - _bytesOfPacked)
                throw new InvalidModelException($"'{source.Location}': the packed tensors stand for more bytes than 64 bits can count.");
            _bytesOfPacked += tensor.ByteLength;
        }

        foreach (SparseUpdate.Packed parts in packed.Values)
        {
            cancellationToken.ThrowIfCancellationRequested();
            _packed.Add(names.Strip(parts.Tensor.Name), (parts, SparseUpdate.ReadMask(source, parts)));
        }
    }

    /// <summary>
    /// The key of a global model's tensor in the dictionaries: its name without prefixes, or the one that the metadata tie it to.
    /// </summary>
    private string KeyOf(string name)
    {
        string key = names.Strip(name);
        return _tensors is null || _tensors.ContainsKey(key) ? key : TiedKey(name, key);
    }

    private string TiedKey(string name, string key)
    {
        IReadOnlyDictionary<string, string> metadata = _source!.Metadata;
        foreach (string alias in (IEnumerable<string>)[name, key, .. names.Prefixes.Select(prefix => prefix + key)])
        {
            if (metadata.TryGetValue(alias, out string? kept))
                return names.Strip(kept);
        }

        return key;
    }

    private DensePanelReader OpenPart(TensorInfo part, TensorInfo tensor) => new(_source!, part, (Id, tensor.Name));
}
