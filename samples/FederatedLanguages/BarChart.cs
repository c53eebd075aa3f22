using System.Globalization;
using System.Text;

namespace FederatedLanguages;

/// <summary>Draws one bar for each column: the mean bits per byte of the clients' domains.</summary>
internal static class BarChart
{
    // the longest bar in multiples of the base's; longer ones are cut, so that the others stay visible; chosen
    private const double Longest = 1.5;

    // characters of the longest bar; chosen
    private const int Characters = 48;

    // sizes in pixels; chosen
    private const int RowHeight = 26, BarHeight = 18, NamesWidth = 170, BarsWidth = 430, Width = 680, Top = 44;

    /// <summary>Prints the bars.</summary>
    public static void Write(IReadOnlyList<ResultColumn> columns)
    {
        double longest = Limit(columns);
        int names = columns.Max(column => column.Name.Length);
        foreach (ResultColumn column in columns)
        {
            string bar = new('#', (int)Math.Round(Math.Min(Value(column) / longest, 1) * Characters));
            Console.WriteLine($"{column.Name.PadRight(names)}  {bar} {Text(column, longest)}");
        }
    }

    /// <summary>Saves the bars as an SVG file.</summary>
    /// <param name="columns">The columns.</param>
    /// <param name="title">The picture's title.</param>
    /// <param name="path">The file.</param>
    public static void Save(IReadOnlyList<ResultColumn> columns, string title, string path)
    {
        double longest = Limit(columns);
        int height = Top + columns.Count * RowHeight + 8;
        var svg = new StringBuilder();
        Line($"""<svg xmlns="http://www.w3.org/2000/svg" width="{Width}" height="{height}" font-family="Arial" font-size="13">""");
        Line($"""  <rect width="{Width}" height="{height}" fill="white"/>""");
        Line($"""  <text x="{Width / 2}" y="24" text-anchor="middle" font-size="14" font-weight="bold">{Escape(title)}</text>""");
        foreach ((int i, ResultColumn column) in columns.Index())
        {
            int y = Top + i * RowHeight;
            double width = Math.Min(Value(column) / longest, 1) * BarsWidth;
            // the columns before the strategies are for comparison, in gray
            string color = column.IsReference ? "#9a9a9a" : "#1f6fb4";
            Line($"""  <text x="{NamesWidth - 8}" y="{y + 14}" text-anchor="end">{Escape(column.Name)}</text>""");
            Line($"""  <rect x="{NamesWidth}" y="{y}" width="{width:0.#}" height="{BarHeight}" fill="{color}"/>""");
            Line($"""  <text x="{NamesWidth + width + 6:0.#}" y="{y + 14}">{Text(column, longest)}</text>""");
        }

        Line($"</svg>");
        File.WriteAllText(path, svg.ToString());

        void Line(FormattableString line) => svg.Append(line.ToString(CultureInfo.InvariantCulture)).Append('\n');
    }

    private static double Value(ResultColumn column) => column.Mean ?? 0;

    /// <summary>Returns the value of the longest bar, from the base's, which is the first column.</summary>
    private static double Limit(IReadOnlyList<ResultColumn> columns) => Math.Min(columns.Max(Value), Longest * Value(columns[0]));

    private static string Text(ResultColumn column, double longest) =>
        ResultTable.Text(Value(column)) + (Value(column) > longest ? " (cut)" : "");

    private static string Escape(string text) => System.Security.SecurityElement.Escape(text);
}
