using System.Globalization;

namespace FederatedLanguages;

/// <summary>The table of all measurements, in bits per byte.</summary>
internal static class ResultTable
{
    private const string Nothing = "-";

    /// <param name="options">The aggregators that were run.</param>
    /// <param name="clients">Their names.</param>
    /// <param name="general">The name of the base's domain.</param>
    /// <param name="bits">For the base, each client's local adapter and each aggregator's: for each client's text and the base's domain.</param>
    public static void Write(Options options, string[] clients, string general, double[][] bits)
    {
        int count = clients.Length;
        double[][] alone = bits[1..(count + 1)], federated = bits[(count + 1)..];
        List<double?[]> rows = [];
        for (int i = 0; i < count; i++)
            rows.Add([bits[0][i], alone[i][i], Mean(alone.Where((_, client) => client != i), i), .. federated.Select(result => (double?)result[i])]);
        double?[] mean = [.. rows[0].Select((_, column) => rows.Average(row => row[column]))];
        rows.Add(mean);
        rows.Add([bits[0][count], null, Mean(alone, count), .. federated.Select(result => (double?)result[count])]);

        string[] heads = ["base", "own alone", "others alone", .. options.Aggregators];
        string[] names = [.. clients, "mean", general + " (base)"];
        int first = Math.Max("bits per byte".Length, names.Max(name => name.Length));
        Console.WriteLine("bits per byte".PadRight(first) + string.Concat(heads.Select(head => "  " + head.PadLeft(7))));
        foreach ((string name, double?[] row) in names.Zip(rows))
            Console.WriteLine(name.PadRight(first) + string.Concat(row.Zip(heads, (value, head) => "  " + Text(value).PadLeft(Math.Max(7, head.Length)))));
        Console.WriteLine();
        Console.WriteLine("base: before training. own alone: after as many steps on the client's own text, without the others. others alone: the mean of what the");
        Console.WriteLine("other clients' lone adapters make of the same text. The last columns: one adapter for all, after the rounds of the federation.");
    }

    private static double? Mean(IEnumerable<double[]> measurements, int domain) =>
        measurements.Any() ? measurements.Average(measurement => measurement[domain]) : null;

    private static string Text(double? value) => value?.ToString("0.000", CultureInfo.InvariantCulture) ?? Nothing;
}
