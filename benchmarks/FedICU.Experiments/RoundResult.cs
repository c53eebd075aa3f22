namespace FedICU.Experiments;

/// <summary>The figures after a round. Round 0 is before the first.</summary>
internal sealed record RoundResult
{
    public required RunKey Run { get; init; }

    public required int Round { get; init; }

    /// <summary>The bits per byte of each domain's test text.</summary>
    public required Dictionary<string, double> Domains { get; init; }

    /// <summary>The bits per byte of the general test text; NaN if the method diverged.</summary>
    public required double General { get; init; }

    /// <summary>The bytes that all clients have sent since the start.</summary>
    public long Sent { get; init; }

    /// <summary>The bytes that whole updates would have taken since the start.</summary>
    public long Whole { get; init; }

    /// <summary>The cosine of a client's update to the mean update, averaged over clients and tensors.</summary>
    public double Cosine { get; init; }

    /// <summary>The norm of a client's update, averaged over clients and tensors.</summary>
    public double UpdateNorm { get; init; }

    /// <summary>
    /// The distance of mean(B) mean(A) from mean(B A), relative to its norm and averaged over matrices; null if no
    /// factors were averaged.
    /// </summary>
    public double? CrossTerm { get; init; }

    /// <summary>
    /// The distance of the result's product from mean(B A), as reported by a rule of LoRA pairs, relative to its norm
    /// and averaged over matrices; null with other rules.
    /// </summary>
    public double? RelativeError { get; init; }

    /// <summary>The time of the server's step, including the report's statistics.</summary>
    public double ServerMilliseconds { get; init; }

    /// <summary>
    /// The share of the entries chosen by masks that the same client's previous mask also chose; null without masks, in
    /// the first round, and in the first round after a stop.
    /// </summary>
    public double? SentAgain { get; init; }

    public double Domain => Domains.Values.Average();

    public bool IsDiverged => double.IsNaN(General);
}
