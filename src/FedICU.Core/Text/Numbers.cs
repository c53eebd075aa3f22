using System.Globalization;

namespace FedICU.Text;

/// <summary>Numbers as text that reads back as the same number, in every culture.</summary>
internal static class Numbers
{
    /// <summary>The shortest text that reads back as the same float64.</summary>
    public static string Invariant(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
