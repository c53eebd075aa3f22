using FedICU.Text;

namespace FedICU.Strategies.Statements;

/// <summary>Describes what is wrong with a number that a client states.</summary>
internal static class StatementFaults
{
    /// <summary>Describes a number that is missing or out of range; null if it is neither.</summary>
    /// <param name="name">The number's name in metadata: <c>loss</c>.</param>
    /// <param name="value">The number; null if the client does not state it.</param>
    /// <param name="least">The least value that is allowed.</param>
    public static string? Describe(string name, double? value, double least)
    {
        string expected = $"a number of at least {Numbers.Invariant(least)} was expected";
        if (value is not { } stated)
            return $"{name} is missing; {expected}";
        return stated >= least ? null : $"{name} is {Numbers.Invariant(stated)}; {expected}";
    }
}
