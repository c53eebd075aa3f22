using System.Globalization;

namespace FederatedLanguages;

/// <summary>Prints the table of all measurements, in bits per byte.</summary>
internal static class ResultTable
{
    private const string Nothing = "-";

    // the smallest width of a column, in characters; chosen
    private const int ColumnWidth = 7;

    /// <summary>Prints the table.</summary>
    /// <param name="options">The options, with the aggregators that were run.</param>
    /// <param name="clients">The clients' names.</param>
    /// <param name="general">The name of the base's domain.</param>
    /// <param name="bits">
    /// The bits per byte of each adapter (the base, each client's local one, each aggregator's) for each text (the
    /// clients', the base's).
    /// </param>
    public static void Write(Options options, string[] clients, string general, double[][] bits)
    {
        int count = clients.Length;
        double[][] alone = bits[1..(count + 1)], federated = bits[(count + 1)..];
        List<double?[]> rows = [];
        for (int i = 0; i < count; i++)
        {
            double? others = Mean(alone.Where((_, client) => client != i), i);
            rows.Add([bits[0][i], alone[i][i], others, .. federated.Select(result => (double?)result[i])]);
        }

        double?[] mean = [.. rows[0].Select((_, column) => rows.Average(row => row[column]))];
        rows.Add(mean);
        rows.Add([bits[0][count], null, Mean(alone, count), .. federated.Select(result => (double?)result[count])]);

        string[] heads = ["base", "own alone", "others alone", .. options.Aggregators];
        string[] names = [.. clients, "mean", general + " (base)"];
        int first = Math.Max("bits per byte".Length, names.Max(name => name.Length));
        Console.WriteLine("bits per byte".PadRight(first) + string.Concat(heads.Select(head => "  " + head.PadLeft(ColumnWidth))));
        foreach ((string name, double?[] row) in names.Zip(rows))
        {
            IEnumerable<string> cells = row.Zip(heads, (value, head) => "  " + Text(value).PadLeft(Math.Max(ColumnWidth, head.Length)));
            Console.WriteLine(name.PadRight(first) + string.Concat(cells));
        }

        Console.WriteLine();
        Console.WriteLine("base: before training. own alone: after the same number of steps on the client's own text only.");
        Console.WriteLine("others alone: the mean of the other clients' local adapters on the same text.");
        Console.WriteLine("The last columns: one adapter for all clients, after the rounds of the federation.");
    }

    private static double? Mean(IEnumerable<double[]> measurements, int domain) =>
        measurements.Any() ? measurements.Average(measurement => measurement[domain]) : null;

    private static string Text(double? value) => value?.ToString("0.000", CultureInfo.InvariantCulture) ?? Nothing;
}
