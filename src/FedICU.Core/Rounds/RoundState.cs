using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Panels;

namespace FedICU.Rounds;

/// <summary>What is fixed for one run over the tensors: who takes part, what computes, where the output goes.</summary>
internal sealed record RoundState(
    TensorSource Global, IReadOnlyList<Participant> Participants, IReadOnlyList<RoundClient> Clients, IComputeBackend Backend, Workers Workers, TensorSink Output)
{
    /// <summary>
    /// The clients' weights n_k. All are multiplied by one power of two where products with them would fall below float64's normal range.
    /// </summary>
    public double[] Weights { get; } = Scaled([.. Clients.Select(client => client.Weight)]);

    /// <summary>Up to so many bytes, the inputs of a tensor that is looked at more than once are read into memory.</summary>
    public long PreloadBytes { get; init; } = 256 << 20;

    /// <summary>Whether the clients' files are larger than memory: what was read leaves it again, before the system must look for pages to take.</summary>
    public bool LargerThanMemory { get; init; }

    /// <summary>Whether all tensors lie in the memory of the backend's device, and in the global model's types: then they are looked at there.</summary>
    public bool OnDevice { get; } = Backend.Device is { } device && Global.Device == device && Participants.All(participant =>
        participant.Kind == UpdateKind.Full && participant.Source.Device == device && Global.Tensors.All(tensor => participant.Find(tensor.Name) is not { } own || own.DType == tensor.DType));

    /// <summary>Whether the output goes there too.</summary>
    public bool WritesOnDevice { get; } = Backend.Device is { } own && Output.Device == own;

    /// <summary>Elements of a panel there: as many as it likes, but as few as the host can hold where the output goes to it.</summary>
    public int PanelElementsOnDevice => WritesOnDevice ? 1 << 26 : 1 << 22;

    /// <summary>Reads the next tensor while one is looked at again; null where what was read stays in memory.</summary>
    public ReadAhead? ReadAhead { get; init; }

    /// <summary>The same round for a tensor beside others, on one thread; its workers are the caller's to dispose.</summary>
    public RoundState OnOneThread() => this with { Workers = new Workers(1, Workers.CancellationToken), PreloadBytes = PreloadBytes / Workers.Threads };

    /// <summary>The share of a tensor's entries that each client sent; null where each sent all.</summary>
    public double[]? SharesSent(TensorInfo tensor)
    {
        double[]? shares = IsSparse ? new double[Participants.Count] : null;
        for (int k = 0; k < shares?.Length; k++)
            shares[k] = Participants[k].ShareSent(tensor);
        return shares;
    }

    private static double[] Scaled(double[] weights)
    {
        // products of larger weights with values above 1e-157 keep all digits
        const double LeastTotal = 1e-150;
        if (weights.Sum() < LeastTotal)
            TensorPrimitives.Multiply(weights, SumScale.Up, weights);
        return weights;
    }

    private bool IsSparse { get; } = Participants.Any(participant => participant.Kind == UpdateKind.Sparse);

    /// <summary>Counts the bytes that each backend computes with.</summary>
    public required RoundWork Work { get; init; }

    /// <summary>The strategy's name.</summary>
    public required string Strategy { get; init; }

    /// <summary>Tensors that keep the global model's value, and why.</summary>
    public required IReadOnlyDictionary<string, string> Dropped { get; init; }
}
