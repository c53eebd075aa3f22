using FedICU.Compute;

namespace FedICU;

/// <summary>A client in the course of a round: its opened tensors, and whether it still takes part.</summary>
internal sealed class Participant(ClientUpdate update) : IDisposable
{
    private readonly Dictionary<string, SparseMask> _masks = new(StringComparer.Ordinal);
    private TensorSource? _source;
    private bool _owned;
    private Dictionary<string, SparseUpdate.Packed> _packed = [];
    private Dictionary<string, TensorInfo> _tensors = [];

    public string Id => update.Id;

    public double Weight { get; set; }

    /// <summary>Why the client was left out, null while it takes part.</summary>
    public string? Exclusion { get; set; }

    /// <summary>Left out for a weight of 0; the quorum does not count it.</summary>
    public bool WeighsNothing { get; set; }

    public UpdateKind Kind { get; private set; }

    public string? BaseDigest { get; private set; }

    public TensorSource Source => _source!;

    /// <summary>The tensors the update stands for, packed ones by their whole shape.</summary>
    public IReadOnlyCollection<TensorInfo> Tensors => _tensors.Values;

    public TensorInfo? Find(string name) => _tensors.GetValueOrDefault(name);

    public long BytesSent => _source?.TotalBytes ?? 0;

    public long BytesFull => _tensors.Values.Sum(tensor => tensor.ByteLength);

    public bool IsOpen => _source is not null;

    public bool IsPacked(TensorInfo tensor) => _packed.ContainsKey(tensor.Name);

    /// <summary>Opens the tensors and reads what the metadata say of them.</summary>
    /// <exception cref="InvalidModelException">The update cannot be read.</exception>
    public void Open()
    {
        (_source, _owned) = update.Open();
        if (_source.Metadata.TryGetValue(MetadataKeys.State, out string? state))
            throw new InvalidModelException($"'{_source.Location}': metadata '{MetadataKeys.State}' is '{state}', a client's state; an update was expected.");
        string? stated = _source.Metadata.GetValueOrDefault(MetadataKeys.Update);
        Kind = update.Kind ?? stated switch
        {
            null or "full" => UpdateKind.Full,
            "delta" => UpdateKind.Delta,
            "sparse" => UpdateKind.Sparse,
            _ => throw new InvalidModelException(
                $"'{_source.Location}': metadata '{MetadataKeys.Update}' is '{stated}'; full, delta or sparse was expected."),
        };
        BaseDigest = update.BaseDigest ?? _source.Metadata.GetValueOrDefault(MetadataKeys.Base);
        if (Kind != UpdateKind.Sparse)
        {
            _tensors = _source.Tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
            return;
        }

        if (BaseDigest is null)
            throw new InvalidModelException($"'{_source.Location}': a sparse update without '{MetadataKeys.Base}' in its metadata cannot be unpacked.");
        (List<TensorInfo> tensors, _packed) = SparseUpdate.Describe(_source);
        _tensors = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        foreach (SparseUpdate.Packed packed in _packed.Values)
            _masks.Add(packed.Tensor.Name, SparseUpdate.ReadMask(_source, packed));
    }

    /// <summary>The weight that the update itself states, null where it does not.</summary>
    /// <exception cref="InvalidModelException">It is no number.</exception>
    public double? StatedWeight()
    {
        if (update.Weight is { } weight)
            return weight;
        if (!Source.Metadata.TryGetValue(MetadataKeys.Examples, out string? text))
            return null;
        return double.TryParse(text, System.Globalization.NumberStyles.Float, System.Globalization.CultureInfo.InvariantCulture, out double examples)
            ? examples
            : throw new InvalidModelException($"'{Source.Location}': metadata '{MetadataKeys.Examples}' is '{text}'; a number was expected.");
    }

    /// <summary>The share of a tensor's entries that were sent.</summary>
    public double ShareSent(TensorInfo tensor) =>
        _masks.TryGetValue(tensor.Name, out SparseMask? mask) && tensor.ElementCount > 0 ? (double)mask.Count / tensor.ElementCount : 1;

    public PanelReader OpenReader(TensorInfo tensor, UpdateForm form, PanelReader global, IComputeBackend backend)
    {
        PanelReader parameters;
        if (_packed.TryGetValue(tensor.Name, out SparseUpdate.Packed? packed))
        {
            parameters = new SparsePanelReader(global, new DensePanelReader(Source, packed.Values), _masks[tensor.Name]);
        }
        else
        {
            parameters = new DensePanelReader(Source, _tensors[tensor.Name]);
            if (Kind == UpdateKind.Delta)
                return form == UpdateForm.Delta ? parameters : new SumPanelReader(parameters, global, 1, backend);
        }

        return form == UpdateForm.Parameters ? parameters : new SumPanelReader(parameters, global, -1, backend);
    }

    public PanelReader OpenInteger(TensorInfo tensor) => new DensePanelReader(Source, _tensors[tensor.Name]);

    public void Dispose()
    {
        if (_owned)
            _source?.Dispose();
        _source = null;
    }
}

/// <summary>What is fixed for one run over the tensors: who takes part, what computes, where the output goes.</summary>
internal sealed record RoundState(
    TensorSource Global, IReadOnlyList<Participant> Participants, IReadOnlyList<RoundClient> Clients, IComputeBackend Backend, Workers Workers, TensorSink Output)
{
    /// <summary>Up to so many bytes, the inputs of a tensor that is looked at more than once are read into memory.</summary>
    public long PreloadBytes { get; init; } = 64 << 20;
}
