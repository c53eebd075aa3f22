using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Panels;

namespace FedICU.Rounds;

/// <summary>The fixed facts of one run over the tensors: the clients, the backend and the output.</summary>
internal sealed record RoundState(
    TensorSource Global, IReadOnlyList<Participant> Participants, IReadOnlyList<RoundClient> Clients, IComputeBackend Backend,
    Workers Workers,
    TensorSink Output)
{
    // elements of a panel on the device if the output is there too: chosen, few launches for the largest tensors
    private const int DevicePanelElements = 1 << 26;

    // elements of a panel on the device if the host receives the results: chosen, a panel of results must fit the
    // host's scratch memory
    private const int DevicePanelElementsForHost = 1 << 22;

    /// <summary>
    /// The clients' weights n_k. If products with them could fall below float64's normal range, all are multiplied by
    /// one power of two.
    /// </summary>
    public double[] Weights { get; } = ScaleUpTiny([.. Clients.Select(client => client.Weight)]);

    /// <summary>
    /// The largest size in bytes of a tensor's inputs that are read into memory for several passes. <value>Default: 256
    /// MiB, chosen.</value>
    /// </summary>
    public long PreloadBytes { get; init; } = 256 << 20;

    /// <summary>
    /// Whether the clients' files are larger than memory. Then the round releases the pages of what it has read, so
    /// that the system need not search for pages to free.
    /// </summary>
    public bool LargerThanMemory { get; init; }

    /// <summary>
    /// Whether the global model's and all clients' tensors are in the memory of the backend's device, in the global
    /// model's types. Then the device passes over them where they are.
    /// </summary>
    public bool OnDevice { get; } = IsOnDevice(Backend, Global.Device) && Participants.All(participant =>
        participant.Kind == UpdateKind.Full && IsOnDevice(Backend, participant.Source.Device) &&
        Global.Tensors.All(tensor => participant.Find(tensor.Name) is not { } own || own.DType == tensor.DType));

    /// <summary>Whether the output is in the memory of the backend's device.</summary>
    public bool WritesOnDevice { get; } = IsOnDevice(Backend, Output.Device);

    /// <summary>The number of elements of a panel on the device.</summary>
    public int PanelElementsOnDevice => WritesOnDevice ? DevicePanelElements : DevicePanelElementsForHost;

    /// <summary>
    /// Reads the next tensor's files during the later passes over a tensor; null if all files fit in memory.
    /// </summary>
    public ReadAhead? ReadAhead { get; init; }

    /// <summary>Counts the bytes that each backend computes with.</summary>
    public required RoundWork Work { get; init; }

    /// <summary>The strategy's name.</summary>
    public required string Strategy { get; init; }

    /// <summary>Tensors that keep the global model's value, with the reasons.</summary>
    public required IReadOnlyDictionary<string, string> Dropped { get; init; }

    private bool IsSparse { get; } = Participants.Any(participant => participant.Kind == UpdateKind.Sparse);

    /// <summary>
    /// Whether tensors of <paramref name="device"/>, null for host memory, are in the memory of a backend's device.
    /// </summary>
    public static bool IsOnDevice(IComputeBackend backend, object? device) => backend.Device is { } own && own == device;

    /// <summary>
    /// Creates the same state for a tensor that is computed beside others, on one thread. The caller disposes the new
    /// state's workers.
    /// </summary>
    public RoundState OnOneThread() =>
        this with { Workers = new Workers(1, Workers.CancellationToken), PreloadBytes = PreloadBytes / Workers.Threads };

    /// <summary>
    /// Computes the share of a tensor's entries that each client sent; null if every client sent all.
    /// </summary>
    public double[]? ComputeSharesSent(TensorInfo tensor)
    {
        double[]? shares = IsSparse ? new double[Participants.Count] : null;
        for (int k = 0; k < shares?.Length; k++)
            shares[k] = Participants[k].ComputeShareSent(tensor);
        return shares;
    }

    private static double[] ScaleUpTiny(double[] weights)
    {
        // derived from float64's smallest normal number, 2.2e-308: products of larger weights with values above 1e-157
        // keep all digits
        const double SmallestTotal = 1e-150;
        if (weights.Sum() < SmallestTotal)
            TensorPrimitives.Multiply(weights, SumScale.Up, weights);
        return weights;
    }
}
