using System.Globalization;

namespace FedICU.Text;

/// <summary>Formats numbers independently of the culture.</summary>
internal static class Numbers
{
    /// <summary>Returns the shortest text that parses back to the same float64.</summary>
    public static string Invariant(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
