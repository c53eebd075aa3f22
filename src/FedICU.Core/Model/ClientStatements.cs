using System.Text.Json.Serialization;

namespace FedICU;

/// <summary>
/// Numbers that a client states about its training, beside the weight. Some rules need them. A null member is read from
/// the update's metadata.
/// </summary>
public sealed record ClientStatements
{
    internal static readonly ClientStatements None = new();

    /// <summary>The number of local training steps; null: <c>local_steps</c> in the metadata.</summary>
    public double? LocalSteps { get; init; }

    /// <summary>The client's loss; null: <c>loss</c> in the metadata.</summary>
    public double? Loss { get; init; }

    /// <summary>
    /// How many rounds the update is late; null: <c>staleness</c> in the metadata, else the round minus the update's
    /// <c>round</c>.
    /// </summary>
    public double? Staleness { get; init; }

    /// <summary>
    /// The divisor that makes the client's local steps comparable (FedNova's a_k); null: <c>normalizer</c> in the
    /// metadata.
    /// </summary>
    public double? Normalizer { get; init; }

    /// <summary>
    /// The path of the client's control variates (Scaffold's dc_k), a model with the global model's float tensors; null
    /// if <see cref="ControlTensors"/> holds them, or there are none.
    /// </summary>
    public string? Control { get; init; }

    /// <summary>
    /// The client's control variates as an open model. It must stay open during the round and remains the caller's.
    /// </summary>
    [JsonIgnore]
    public TensorSource? ControlTensors { get; init; }
}
