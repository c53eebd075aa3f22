using System.Collections.Frozen;
using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Panels;

namespace FedICU.Rounds;

/// <summary>The fixed facts of one run over the tensors: the plan, the clients' open updates and the output.</summary>
/// <param name="Global">The model before the round.</param>
/// <param name="Plan">The round's plan.</param>
/// <param name="Clients">The plan's clients at this stage.</param>
/// <param name="Participants">Their open updates, in the same order.</param>
/// <param name="Settings">What all passes share.</param>
internal sealed record RoundRun(
    TensorSource Global, RoundPlan Plan, IReadOnlyList<RoundClient> Clients, IReadOnlyList<Participant> Participants,
    PassSettings Settings)
{
    /// <summary>
    /// The clients' weights in the merge. If products with them could fall below float64's normal range, all are
    /// multiplied by one power of two.
    /// </summary>
    public double[] Weights { get; } = ScaleUpTiny([.. Clients.Select(client => client.MergeWeight)]);

    /// <summary>Whether a weighting set other weights than n_k.</summary>
    public bool HasOwnWeights { get; } = Clients.Any(client => client.MergeWeight != client.Weight);

    /// <summary>Whether no client sent its update alone: parameters can be read without an addition.</summary>
    public bool AllSentParameters { get; } = Participants.All(participant => participant.Kind != UpdateKind.Delta);

    /// <summary>Whether every client sent its update, not its parameters.</summary>
    public bool AllSentUpdates { get; } = Participants.All(participant => participant.Kind == UpdateKind.Delta);

    /// <summary>
    /// Whether the global model's and all clients' tensors are in the memory of the backend's device, in the global
    /// model's types. Then the device passes over them where they are.
    /// </summary>
    public bool OnDevice { get; } = IsOnDevice(Settings.Backend, Global.Device) && Participants.All(participant =>
        participant.Kind == UpdateKind.Full && IsOnDevice(Settings.Backend, participant.Source.Device) &&
        Global.Tensors.All(tensor => participant.Find(tensor.Name) is not { } own || own.DType == tensor.DType));

    /// <summary>Tensors that keep the global model's value, with the reasons.</summary>
    public required IReadOnlyDictionary<string, string> Dropped { get; init; }

    /// <summary>The server's old state; null in a first round.</summary>
    public TensorSource? State { get; init; }

    /// <summary>The models that stages name.</summary>
    public IReadOnlyDictionary<string, TensorSource> Models { get; init; } = FrozenDictionary<string, TensorSource>.Empty;

    private bool IsSparse { get; } = Participants.Any(participant => participant.Kind == UpdateKind.Sparse);

    /// <summary>
    /// Whether tensors of <paramref name="device"/>, null for host memory, are in the memory of a backend's device.
    /// </summary>
    public static bool IsOnDevice(IComputeBackend backend, object? device) => backend.Device is { } own && own == device;

    /// <summary>
    /// Creates the same run for tensors that are computed beside others, on one thread. The caller disposes its
    /// workers.
    /// </summary>
    public RoundRun OnOneThread() => this with { Settings = Settings.OnOneThread() };

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

    /// <summary>Continues with the clients that the plan has left.</summary>
    public RoundRun Narrow()
    {
        var left = Plan.Clients.Select(client => client.Id).ToHashSet(StringComparer.Ordinal);
        Participant[] participants = [.. Participants.Where(participant => left.Contains(participant.Id))];
        return new RoundRun(Global, Plan, Plan.Clients, participants, Settings) { Dropped = Dropped, State = State, Models = Models };
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
