namespace FedICU.Benchmarks;

/// <summary>The models of one layout and type, in memory. Where the clients' models do not all fit, they share the distinct ones in turn.</summary>
public sealed class Workload : IDisposable
{
    private readonly NativeModel[] _distinct;
    private readonly NativeModel _global;
    private readonly Lazy<float[][][]> _arrays;
    private readonly List<MemorySink> _packed = [];

    public Workload(Layout layout, DType dtype, int clients)
    {
        (Layout, DType, Bytes) = (layout, dtype, layout.Elements * dtype.BitSize / 8);
        GC.Collect();
        GCMemoryInfo memory = GC.GetGCMemoryInfo();
        // beside the clients: the global model and the two that a sink keeps
        long budget = (long)((memory.TotalAvailableMemoryBytes - memory.MemoryLoadBytes) * 0.6) - 3 * Bytes;
        _distinct = [.. Enumerable.Range(1, (int)Math.Clamp(budget / Bytes, 1, clients)).Select(client => new NativeModel(layout, dtype, client))];
        _global = new NativeModel(layout, dtype, 0);
        // some peers take nothing but arrays
        _arrays = new(() => [.. Enumerable.Range(0, Clients).Select(k => layout.Tensors.Select(tensor => Client(k).ToArray<float>(tensor.Name)).ToArray())]);
    }

    public Layout Layout { get; }

    public DType DType { get; }

    /// <summary>The bytes of one model.</summary>
    public long Bytes { get; }

    /// <summary>How many clients the next round has.</summary>
    public int Clients { get; set; }

    public IReadOnlyList<NativeModel> Distinct => _distinct;

    public MemoryModel Global => _global.Model;

    public float[][][] Arrays => _arrays.Value;

    /// <summary>The shares of a weighted mean: client k has k + 1 examples.</summary>
    public double Share(int client) => (client + 1) / (Clients * (Clients + 1) / 2.0);

    public MemoryModel Client(int client) => _distinct[client % _distinct.Length].Model;

    /// <summary>The clients' updates as importance-aware updating packs them.</summary>
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
        Array.ForEach(_distinct, model => model.Dispose());
        _global.Dispose();
    }
}
