namespace FedICU.Fuzz;

/// <summary>What a check found to be wrong.</summary>
/// <param name="message">What was expected and what came.</param>
/// <param name="signature">The same for failures that are one fault: the rule and the place in the code.</param>
internal sealed class FuzzFailure(string message, string signature) : Exception(message)
{
    public string Signature => signature;

    /// <summary>Whether time or memory was measured: then the case is tried again before it counts.</summary>
    public bool IsMeasured { get; init; }

    /// <summary>Fails where a property does not hold.</summary>
    public static void Unless(bool holds, string message, string? signature = null)
    {
        if (!holds)
            throw new FuzzFailure(message, signature ?? message);
    }
}
