using System.Globalization;
using FedICU.Compute;
using FedICU.Files;
using FedICU.Model;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>A client during a round: its opened tensors, and whether it still takes part.</summary>
internal sealed class Participant(ClientUpdate update, TensorNames names) : IDisposable
{
    private TensorSource? _source;
    private bool _owned;
    private long _bytesUnpacked;
    // set for sparse updates, with packed tensors in their whole shape, and if names are compared without prefixes;
    // otherwise null, and the source finds the tensors
    private Dictionary<string, TensorInfo>? _tensors;
    private Dictionary<string, (SparseUpdate.Packed Parts, SparseMask Mask)> _packed = [];

    public string Id => update.Id;

    /// <summary>The client in an error sentence that also contains its file: <c>Client 'a'</c>.</summary>
    public string Name => $"Client {Sentence.Quote(Id)}";

    /// <summary>The client in other error sentences: its id, and its file unless the id is the file's path.</summary>
    public string NameWithFile => update.Path is null || update.Path == Id ? Name : $"{Name} ({Sentence.Quote(update.Path)})";

    public double Weight { get; set; }

    /// <summary>What the client states about its training; empty if no stage reads it.</summary>
    public ClientStatements Statements { get; set; } = ClientStatements.None;

    /// <summary>The client's control variates; null if no stage reads them.</summary>
    public TensorSource? Control { get; private set; }

    /// <summary>Where the control variates lie, in an error sentence; empty if they are in memory.</summary>
    public string ControlPlace => Control is { IsInMemory: false } ? " " + Sentence.Quote(Control.Location) : "";

    /// <summary>The ranks and scalings of the LoRA pairs, where the merge sees pairs.</summary>
    public PairForm[] PairForms { get; set; } = [];

    /// <summary>Whether neither the caller nor the update states a weight.</summary>
    public bool StatesNoWeight { get; set; }

    /// <summary>The reason why the client was left out; null while it takes part.</summary>
    public string? Exclusion { get; set; }

    /// <summary>Whether the client was left out for a weight of 0. The quorum does not count it.</summary>
    public bool HasZeroWeight { get; set; }

    public UpdateKind Kind { get; private set; }

    /// <summary>The kind in the update's metadata if the caller states another kind; else null.</summary>
    public string? ContradictedKind { get; private set; }

    public string? BaseDigest { get; private set; }

    /// <summary>The opened tensors as they were sent.</summary>
    public TensorSource Source => _source!;

    /// <summary>The adapter's configuration; null if the update has none.</summary>
    public PeftAdapterConfig? AdapterConfig => _source?.AdapterConfig;

    /// <summary>The update's tensors; a packed tensor is described by its unpacked shape.</summary>
    public IReadOnlyCollection<TensorInfo> Tensors => (IReadOnlyCollection<TensorInfo>?)_tensors?.Values ?? _source?.Tensors ?? [];

    /// <summary>
    /// The types of tensors that the library does not support, by the tensors' names without prefixes.
    /// </summary>
    public IReadOnlyDictionary<string, string> UnknownTypes { get; } = update.UnknownTypes.Count == 0
        ? update.UnknownTypes
        : update.UnknownTypes.GroupBy(tensor => names.Strip(tensor.Key), StringComparer.Ordinal)
            .ToDictionary(same => same.Key, same => same.First().Value, StringComparer.Ordinal);

    /// <summary>
    /// Finds the update's tensor for one of the global model's: the tensor of that name, or the one that metadata tie
    /// to that name.
    /// </summary>
    public TensorInfo? Find(string name) => _tensors is null ? _source?.FindTied(name) : _tensors.GetValueOrDefault(GetKey(name));

    /// <summary>Finds the update's tensor for one of the global model's.</summary>
    /// <param name="name">The tensor's name in the global model.</param>
    /// <param name="number">
    /// Its number there. Most updates have the same order, so the tensor of this number is tried first.
    /// </param>
    public TensorInfo? Find(string name, int number)
    {
        bool hasNumber = _tensors is null && number < _source?.Tensors.Count;
        return hasNumber && _source!.Tensors[number] is var tensor && tensor.Name == name ? tensor : Find(name);
    }

    /// <summary>The update's size if the round opened its file; else 0. In bytes.</summary>
    public long BytesInFiles => _owned ? BytesSent : 0;

    public long BytesSent { get; private set; }

    /// <summary>The size of the whole model in the client's types, in bytes.</summary>
    public long BytesFull => !IsOpen ? 0 : Kind == UpdateKind.Sparse ? _bytesUnpacked : BytesSent;

    /// <summary>Whether the update was opened and its metadata were valid.</summary>
    public bool IsOpen { get; private set; }

    public bool IsPacked(TensorInfo tensor) => _packed.ContainsKey(names.Strip(tensor.Name));

    /// <summary>Opens the tensors and reads their metadata.</summary>
    /// <exception cref="InvalidModelException">The update cannot be read.</exception>
    public void Open(TensorSource global, RoundFiles files, CancellationToken cancellationToken)
    {
        (_source, _owned) = update.Open(files);
        BytesSent = _source.TotalBytes;
        if (_source.Metadata.TryGetValue(MetadataKeys.State, out string? state))
        {
            throw new InvalidModelException(
                $"'{_source.Location}': metadata '{MetadataKeys.State}' is '{state}', a client's state; an update was expected.");
        }

        string? stated = _source.Metadata.GetValueOrDefault(MetadataKeys.Update);
        Kind = update.Kind ?? (stated is null ? UpdateKind.Full : MetadataKeys.ParseKind(stated)) ?? throw new InvalidModelException(
            $"'{_source.Location}': metadata '{MetadataKeys.Update}' is {Sentence.Quote(stated!)}; full, delta or sparse was expected.");
        ContradictedKind = update.Kind is { } given && stated is not null && stated != given.Text() ? Sentence.Quote(stated) : null;
        BaseDigest = update.BaseDigest ?? _source.Metadata.GetValueOrDefault(MetadataKeys.Base);
        if (Kind == UpdateKind.Sparse)
            Unpack(_source, global, cancellationToken);
        else if (!names.AreExact)
            _tensors = names.Index(_source, _source.Tensors);
        IsOpen = true;
    }

    /// <summary>Reads the weight that the caller or the update states; null if neither does.</summary>
    /// <exception cref="InvalidModelException">The weight is not a number.</exception>
    public double? ReadWeight()
    {
        if (update.WeightFault is { } fault)
            throw new InvalidModelException(fault);
        if (update.Weight is { } weight)
            return weight;
        return ReadNumber(MetadataKeys.Examples);
    }

    /// <summary>
    /// Reads what the caller or the update states about the client's training. A member that neither states is null.
    /// </summary>
    /// <param name="round">
    /// The number of the round; null if it is unknown. It gives the staleness of an update that states only its own
    /// round.
    /// </param>
    /// <exception cref="InvalidModelException">A value is not a finite number.</exception>
    public ClientStatements ReadStatements(long? round)
    {
        ClientStatements given = update.Statements;
        return given with
        {
            LocalSteps = Read(given.LocalSteps, MetadataKeys.LocalSteps),
            Loss = Read(given.Loss, MetadataKeys.Loss),
            Staleness = Read(given.Staleness, MetadataKeys.Staleness) ?? (double?)round - ReadRound(),
            Normalizer = Read(given.Normalizer, MetadataKeys.Normalizer),
        };

        double? Read(double? stated, string key)
        {
            double? value = stated ?? ReadNumber(key);
            return value is null || double.IsFinite(value.Value)
                ? value
                : throw new InvalidModelException($"{key} is {Numbers.Invariant(value.Value)}; a finite number was expected.");
        }
    }

    /// <summary>Reads the round in the update's metadata if it is not <paramref name="round"/>; else null.</summary>
    public string? ReadOtherRound(long round) =>
        ReadRound() == round ? null : _source!.Metadata.GetValueOrDefault(MetadataKeys.Round);

    /// <summary>Computes the share of a tensor's entries that the client sent.</summary>
    public double ComputeShareSent(TensorInfo tensor) =>
        _packed.TryGetValue(GetKey(tensor.Name), out var packed) && tensor.ElementCount > 0
            ? (double)packed.Mask.Count / tensor.ElementCount
            : 1;

    /// <summary>Opens a tensor.</summary>
    /// <param name="tensor">The global model's tensor.</param>
    /// <param name="number">Its number in the global model.</param>
    /// <param name="form">Whether parameters or updates are read, whatever the client sent.</param>
    /// <param name="global">Reads the global model's values.</param>
    /// <param name="backend">Computes parameters from a delta, or an update from parameters.</param>
    /// <param name="spare">
    /// A reader of the same form over the same global reader that is no longer in use, or null. It is opened again if
    /// possible.
    /// </param>
    /// <param name="onDevice">Whether panels may be addresses on a device; whole tensors only.</param>
    public PanelReader OpenReader(
        TensorInfo tensor, int number, UpdateForm form, DensePanelReader global, IComputeBackend backend, PanelReader? spare, bool onDevice)
    {
        PanelReader parameters;
        if (_packed.TryGetValue(GetKey(tensor.Name), out var packed))
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

        PanelReader Sum(double sign) =>
            spare is SumPanelReader sum && sum.First == parameters ? sum : new SumPanelReader(parameters, global, sign, backend);
    }

    /// <summary>Opens a tensor that was sent whole, not packed.</summary>
    public PanelReader OpenWhole(TensorInfo tensor, int number, PanelReader? spare, bool onDevice = false)
    {
        TensorInfo part = Find(tensor.Name, number)!;
        if (spare is not DensePanelReader reader)
            return new DensePanelReader(_source!, part, (Id, tensor.Name), number, onDevice);
        reader.Open(_source!, part, (Id, tensor.Name), number, onDevice);
        return reader;
    }

    /// <summary>Opens the client's control variates; null if it sent none.</summary>
    public TensorSource? OpenControl() =>
        Control = Statements.ControlTensors ?? (Statements.Control is { } path ? TensorSource.Open(path) : null);

    /// <summary>
    /// Closes the update and frees the memory of its headers. The properties that the report needs stay valid.
    /// </summary>
    public void Dispose()
    {
        if (_owned)
            _source?.Dispose();
        if (Control != Statements.ControlTensors)
            Control?.Dispose();
        Control = null;
        (_source, _tensors, _packed) = (null, null, []);
    }

    /// <summary>Reads the round in the update's metadata; null if it states none, or no whole number.</summary>
    private long? ReadRound() =>
        long.TryParse(
            _source!.Metadata.GetValueOrDefault(MetadataKeys.Round), NumberStyles.Integer, CultureInfo.InvariantCulture, out long stated)
            ? stated
            : null;

    /// <summary>
    /// Reads a number that the client states beside its update or in its metadata; null if it states none.
    /// </summary>
    private double? ReadNumber(string key)
    {
        if (update.StatedTexts.TryGetValue(key, out string? stated))
        {
            return double.TryParse(stated, NumberStyles.Float, CultureInfo.InvariantCulture, out double value)
                ? value
                : throw new InvalidModelException($"{key} is {Sentence.Quote(stated)}; a number was expected.");
        }

        if (!_source!.Metadata.TryGetValue(key, out string? text))
            return null;
        return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double number)
            ? number
            : throw new InvalidModelException($"'{_source.Location}': metadata '{key}' is {Sentence.Quote(text)}; a number was expected.");
    }

    private void Unpack(TensorSource source, TensorSource global, CancellationToken cancellationToken)
    {
        if (global.Tensors.FirstOrDefault(tensor => SparseUpdate.IsPartName(tensor.Name)) is { } part)
        {
            throw new InvalidModelException(
                $"'{source.Location}' is sparse, but the model's tensor {Sentence.Quote(part.Name)} has the name of a part of a packed " +
                "tensor; a full update or a delta was expected.");
        }

        if (BaseDigest is null)
        {
            throw new InvalidModelException(
                $"'{source.Location}': a sparse update without '{MetadataKeys.Base}' in its metadata cannot be unpacked.");
        }

        (List<TensorInfo> tensors, Dictionary<string, SparseUpdate.Packed> packed) = SparseUpdate.Describe(source, global);
        _tensors = names.Index(source, tensors);
        foreach (TensorInfo tensor in tensors)
        {
            if (tensor.ByteLength > long.MaxValue - _bytesUnpacked)
                throw new InvalidModelException($"'{source.Location}': the packed tensors stand for more bytes than 64 bits can count.");
            _bytesUnpacked += tensor.ByteLength;
        }

        foreach (SparseUpdate.Packed parts in packed.Values)
        {
            cancellationToken.ThrowIfCancellationRequested();
            _packed.Add(names.Strip(parts.Tensor.Name), (parts, SparseUpdate.ReadMask(source, parts)));
        }
    }

    /// <summary>
    /// Gets the key of a global model's tensor in the dictionaries: its name without prefixes, or the name that
    /// metadata tie it to.
    /// </summary>
    private string GetKey(string name)
    {
        string key = names.Strip(name);
        return _tensors is null || _tensors.ContainsKey(key) ? key : GetTiedKey(name, key);
    }

    private string GetTiedKey(string name, string key)
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
