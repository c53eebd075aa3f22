namespace FedICU.Benchmarks;

/// <summary>The models of one layout and type, in memory.</summary>
public sealed class Workload : IDisposable
{
    // the share of the free memory that the clients' models may take; chosen
    private const double MemoryShare = 0.6;

    private readonly ModelMemory _global;
    private readonly Lazy<float[][][]> _arrays;
    private readonly List<MemorySink> _packed = [];
    private MemoryModel[] _clients = [];

    public Workload(Layout layout, DType dtype, int clients)
    {
        (Layout, DType, Bytes) = (layout, dtype, layout.Elements * dtype.BitSize / 8);
        GC.Collect();
        GCMemoryInfo info = GC.GetGCMemoryInfo();
        // three models less: the global model and the two that a sink keeps
        long budget = (long)((info.TotalAvailableMemoryBytes - info.MemoryLoadBytes) * MemoryShare) - 3 * Bytes;
        Memory = new ModelMemory(layout, dtype, 1, (int)Math.Clamp(budget / Bytes, 2, clients));
        _global = new ModelMemory(layout, dtype, 0, 1);
        Global = _global.ModelsOf(1)[0];
        // some peers work only on arrays
        _arrays = new(() => [.. Enumerable.Range(0, Clients).Select(k =>
            layout.Tensors.Select(tensor => Client(k).ToArray<float>(tensor.Name)).ToArray())]);
    }

    public Layout Layout { get; }

    public DType DType { get; }

    /// <summary>The bytes of one model.</summary>
    public long Bytes { get; }

    /// <summary>The number of clients of the next round.</summary>
    public int Clients
    {
        get => _clients.Length;
        set => _clients = Memory.ModelsOf(value);
    }

    /// <summary>
    /// The memory of the clients' models. It holds a model for each client if 60 % of the free memory suffice,
    /// otherwise fewer.
    /// </summary>
    public ModelMemory Memory { get; }

    public MemoryModel Global { get; }

    public float[][][] Arrays => _arrays.Value;

    /// <summary>Computes a client's share in the weighted mean: client k has k + 1 examples.</summary>
    public double Share(int client) => (client + 1) / (Clients * (Clients + 1) / 2.0);

    public MemoryModel Client(int client) => _clients[client];

    /// <summary>Returns the clients' updates as packed by importance-aware updating.</summary>
    public IReadOnlyList<MemorySink> Packed()
    {
        for (int k = _packed.Count; k < Clients; k++)
        {
            _packed.Add(new MemorySink());
            new FedIcuClient().CreateUpdate(Global, Client(k), _packed[k]);
        }

        return _packed;
    }

    public void Dispose()
    {
        _packed.ForEach(sink => sink.Dispose());
        Memory.Dispose();
        _global.Dispose();
    }
}
