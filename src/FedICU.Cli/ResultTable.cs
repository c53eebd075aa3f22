using Spectre.Console;

namespace FedICU.Cli;

/// <summary>A table of results: boxed on a terminal, aligned columns of plain text everywhere else.</summary>
internal sealed class ResultTable(params IReadOnlyList<string> columns)
{
    /// <summary>The prefix of a right-aligned column's header: <c>"&gt;elements"</c>.</summary>
    private const char Right = '>';

    private readonly string[] _headers = [.. columns.Select(column => column.TrimStart(Right))];
    private readonly bool[] _right = [.. columns.Select(column => column.StartsWith(Right))];
    private readonly List<string[]> _rows = [];

    public void Add(params IEnumerable<string> cells) => _rows.Add([.. cells.Select(Text.Clean)]);

    public void WriteTo(TextWriter writer)
    {
        int[] widths = [.. _headers.Select((header, column) => _rows.Select(row => row[column].Length).Append(header.Length).Max())];
        foreach (string[] row in _rows.Prepend(_headers))
        {
            IEnumerable<string> cells = row.Select((cell, column) =>
                _right[column] ? cell.PadLeft(widths[column]) : cell.PadRight(widths[column]));
            writer.WriteLine(string.Join("  ", cells).TrimEnd());
        }
    }

    public Table ToRich()
    {
        Table table = new Table().RoundedBorder();
        for (int column = 0; column < _headers.Length; column++)
        {
            var rich = new TableColumn(new Spectre.Console.Text(_headers[column], new Style(decoration: Decoration.Bold)));
            table.AddColumn(_right[column] ? rich.RightAligned() : rich);
        }

        foreach (string[] row in _rows)
            table.AddRow(row.Select(cell => new Spectre.Console.Text(cell)));
        return table;
    }
}
