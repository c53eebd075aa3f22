namespace FedICU.Fuzz;

/// <summary>Reports that a check failed.</summary>
/// <param name="message">What was expected and what was found.</param>
/// <param name="signature">The rule and the place in the code. It is the same for failures with one cause.</param>
internal sealed class FuzzFailure(string message, string signature) : Exception(message)
{
    public string Signature => signature;

    /// <summary>Whether time or memory was exceeded. Such a case counts only if it fails repeatedly.</summary>
    public bool IsMeasured { get; init; }

    /// <summary>Throws unless a property holds.</summary>
    public static void Unless(bool holds, string message, string? signature = null)
    {
        if (!holds)
            throw new FuzzFailure(message, signature ?? message);
    }
}
