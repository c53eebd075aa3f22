using System.Globalization;

namespace FederatedLanguages;

/// <summary>Prints the table of all measurements, in bits per byte.</summary>
internal static class ResultTable
{
    private const string Nothing = "-";

    // the smallest width of a column, in characters; chosen
    private const int ColumnWidth = 7;

    /// <summary>Prints the table.</summary>
    /// <param name="domains">The names of the clients' domains.</param>
    /// <param name="general">The name of the base's domain.</param>
    /// <param name="columns">The columns.</param>
    public static void Write(string[] domains, string general, IReadOnlyList<ResultColumn> columns)
    {
        string[] names = [.. domains, "mean", general + " (base)"];
        int first = Math.Max("bits per byte".Length, names.Max(name => name.Length));
        IEnumerable<string> heads = columns.Select(column => "  " + column.Name.PadLeft(ColumnWidth));
        Console.WriteLine("bits per byte".PadRight(first) + string.Concat(heads));
        for (int row = 0; row < names.Length; row++)
        {
            IEnumerable<string> cells = columns.Select(column =>
            {
                double? value = row < domains.Length ? column.Bits[row] : row == domains.Length ? column.Mean : column.Bits[^1];
                return "  " + Text(value).PadLeft(Math.Max(ColumnWidth, column.Name.Length));
            });
            Console.WriteLine(names[row].PadRight(first) + string.Concat(cells));
        }
    }

    /// <summary>Writes a value with three decimals, or without decimals from 1000 on.</summary>
    public static string Text(double? value) =>
        value?.ToString(value < 1000 ? "0.000" : "0", CultureInfo.InvariantCulture) ?? Nothing;
}
