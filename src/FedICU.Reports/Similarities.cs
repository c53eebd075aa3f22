namespace FedICU.Reports;

/// <summary>The cosines between the clients' whole updates.</summary>
/// <param name="Clients">The ids of the clients.</param>
/// <param name="Cosine">Returns the cosine of two of them, by their places in the list.</param>
internal sealed record Similarities(IReadOnlyList<string> Clients, Func<int, int, double> Cosine)
{
    /// <summary>Returns the similarities that a report states; null if it states none.</summary>
    public static Similarities? Of(RoundReport report) => null;
}
