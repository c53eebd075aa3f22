namespace FedICU;

/// <summary>A client's part in a round.</summary>
public sealed record ClientReport
{
    /// <summary>The client's id.</summary>
    public required string Id { get; init; }

    /// <summary>Its weight, in examples.</summary>
    public required double Weight { get; init; }

    /// <summary>Its weight over the sum of the included clients' weights; 0 where it was left out.</summary>
    public double Share { get; init; }

    /// <summary>Whether it took part.</summary>
    public required bool Included { get; init; }

    /// <summary>Why it was left out.</summary>
    public string? Reason { get; init; }

    /// <summary>What its tensors are: full, delta or sparse; unknown where it could not be read.</summary>
    public required string Kind { get; init; }

    /// <summary>Bytes of the tensors it sent.</summary>
    public long BytesSent { get; init; }

    /// <summary>Bytes that the whole model takes in the client's types.</summary>
    public long BytesFull { get; init; }

    /// <summary>How many of its values are NaN or infinite, in the tensors where they were found.</summary>
    public long NonFinite { get; init; }
}
