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

    /// <summary>
    /// Describes a number of local steps that is missing, below 1 or not whole; null if it is none of these.
    /// </summary>
    public static string? DescribeSteps(double? value)
    {
        const string Expected = "a whole number of at least 1 was expected";
        if (value is not { } stated)
            return $"{MetadataKeys.LocalSteps} is missing; {Expected}";
        return stated >= 1 && double.IsInteger(stated) ? null : $"{MetadataKeys.LocalSteps} is {Numbers.Invariant(stated)}; {Expected}";
    }
}
