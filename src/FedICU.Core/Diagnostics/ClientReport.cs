namespace FedICU;

/// <summary>A client's part in a round.</summary>
public sealed record ClientReport
{
    /// <summary>The client's id.</summary>
    public required string Id { get; init; }

    /// <summary>The client's weight, in examples.</summary>
    public required double Weight { get; init; }

    /// <summary>
    /// The client's weight divided by the sum of all included clients' weights; 0 if it was left out.
    /// </summary>
    public double Share { get; init; }

    /// <summary>Whether the client took part.</summary>
    public required bool Included { get; init; }

    /// <summary>
    /// Whether the client's update went into the model; false also if a stage of the rule, such as Krum, chose others.
    /// </summary>
    public bool Chosen { get; init; }

    /// <summary>Why the client was left out; null if it took part.</summary>
    public string? Reason { get; init; }

    /// <summary>The kind of the update: full, delta or sparse; unknown if it could not be read.</summary>
    public required string Kind { get; init; }

    /// <summary>The size of the tensors that the client sent, in bytes.</summary>
    public long BytesSent { get; init; }

    /// <summary>The size of the whole model in the client's types, in bytes.</summary>
    public long BytesFull { get; init; }

    /// <summary>The number of the client's NaN and infinite values, in the tensors where they were counted.</summary>
    public long NonFinite { get; init; }
}
