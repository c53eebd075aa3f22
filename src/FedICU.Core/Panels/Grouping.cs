using System.Numerics;
using FedICU.Compute;

namespace FedICU.Panels;

/// <summary>
/// A tensor seen as a matrix whose columns or rows, or which as a whole, form groups; cut into panels and segments by shape and number of inputs
/// alone, so that every reduction has one shape whatever the number of threads. Not thread-safe.
/// </summary>
internal sealed class Grouping
{
    // narrow matrices are folded: this many columns side by side, so that vectors are full and rows long, and the coefficients of many inputs still in the first cache
    public const int FoldedColumns = 128;
    private const int Lanes = 8;
    private const int MaximumSegments = 32;
    private const int MaximumJoined = 1 << 20;
    private const int MinimumSegments = 4;
    private const long SegmentAccumulators = 2L << 20, MostOfRows = 1L << 24;

    // what was cut already: a tensor is looked at several times, and many are of one shape
    private readonly List<(int Inputs, int Accumulators, int Most, List<Segment> Segments)> _segments = [];
    private readonly List<(int Inputs, List<Panel> Panels)> _panels = [];
    private readonly int? _panelElements;

    /// <summary>More float64 accumulators than this take too much memory for each segment.</summary>
    public const long MaximumAccumulators = 5L << 18;

    public Grouping(TensorShape shape, NormAxis axis, int foldedColumns = FoldedColumns, int? panelElements = null)
    {
        _panelElements = panelElements;
        (long rows, long columns) = shape.AsMatrix();
        if (axis == NormAxis.Tensor)
            (rows, columns) = (1, shape.ElementCount);
        GroupsAreColumns = axis == NormAxis.Columns;
        Groups = GroupsAreColumns ? columns : rows;
        Fold = GroupsAreColumns && columns > 0 ? Math.Clamp(foldedColumns / columns, 1, Math.Max(rows, 1)) : 1;
        // where it can be, a folded row is full vectors
        long full = RowsOfFullVectors(columns);
        if (Fold >= full)
            Fold -= Fold % full;
        (Rows, Columns) = (rows / Fold, columns * Fold);
        Remainder = rows % Fold * columns;
        Elements = shape.ElementCount;
    }

    public bool GroupsAreColumns { get; }

    /// <summary>Groups of the tensor.</summary>
    public long Groups { get; }

    /// <summary>How many rows lie side by side in a folded row; groups repeat as often.</summary>
    public long Fold { get; }

    /// <summary>Rows after folding, without the remainder.</summary>
    public long Rows { get; }

    /// <summary>Columns after folding.</summary>
    public long Columns { get; }

    /// <summary>Elements of the last, shorter folded row.</summary>
    public long Remainder { get; }

    public long Elements { get; }

    /// <summary>Groups that the panels see.</summary>
    public long FoldedGroups => GroupsAreColumns ? Columns : Rows;

    /// <summary>How many rows side by side are full vectors: 1, 2, 4 or 8.</summary>
    public static long RowsOfFullVectors(long columns) => Lanes / (long)BigInteger.GreatestCommonDivisor(Lanes, columns);

    /// <summary>Elements of a panel for so many inputs: all of a worker's panels together stay within a few megabytes.</summary>
    public static int PanelElements(int inputs) => (int)Math.Clamp((1L << 20) / (inputs + 1), 1 << 10, 1 << 18) & ~63;

    /// <summary>A contiguous run of elements: rows x columns from Start on, its first group being Group.</summary>
    public readonly record struct Panel(long Start, int Rows, int Columns, long Group)
    {
        public int Length => Rows * Columns;
    }

    /// <summary>Panels that share an accumulator of Groups groups from Group on; the segments before have so many Before.</summary>
    public sealed record Segment(long Group, long Groups, long Before, List<Panel> Panels)
    {
        /// <summary>
        /// The same with panels that follow each other made one: for inputs in memory, and for verbs whose sums go on from one row to the next and so do not
        /// depend on where panels end.
        /// </summary>
        public List<Panel> Joined => Panels.Count == 1 ? Panels : field ??= [.. Join()];

        private IEnumerable<Panel> Join()
        {
            Panel joined = Panels[0];
            foreach (Panel panel in Panels.Skip(1))
            {
                bool follows = panel.Start == joined.Start + joined.Length && (panel.Columns, panel.Group) == (joined.Columns, joined.Group) && joined.Length <= MaximumJoined;
                if (!follows)
                    yield return joined;
                joined = follows ? joined with { Rows = joined.Rows + panel.Rows } : panel;
            }

            yield return joined;
        }
    }

    /// <summary>The panels, each a segment of its own.</summary>
    public List<Panel> Panels(int inputs)
    {
        foreach ((int Inputs, List<Panel> Panels) cut in _panels)
        {
            if (cut.Inputs == inputs)
                return cut.Panels;
        }

        List<Panel> panels = [.. Cut(inputs, inputs, int.MaxValue).SelectMany(segment => segment.Panels)];
        _panels.Add((inputs, panels));
        return panels;
    }

    /// <summary>The segments in ascending order: panels cut for so many inputs, with room for so many accumulators.</summary>
    public List<Segment> Segments(int inputs, int accumulators, int most = MaximumSegments)
    {
        foreach ((int Inputs, int Accumulators, int Most, List<Segment> Segments) cut in _segments)
        {
            if ((cut.Inputs, cut.Accumulators, cut.Most) == (inputs, accumulators, most))
                return cut.Segments;
        }

        List<Segment> segments = Cut(inputs, accumulators, most);
        _segments.Add((inputs, accumulators, most, segments));
        return segments;
    }

    private List<Segment> Cut(int inputs, int accumulators, int most)
    {
        int size = _panelElements ?? PanelElements(inputs);
        var segments = new List<Segment>();
        if (Elements == 0)
            return segments;
        if (!GroupsAreColumns)
        {
            AddRowGroups(segments, size);
            return segments;
        }

        // of many inputs a panel is larger than the caches: four rows of it, or each value of a group would be fetched once for every element
        if (Columns * PanelGeometry.RowsAbreast * inputs <= MostOfRows)
            size = (int)Math.Max(size, Columns * Math.Min(Rows, PanelGeometry.RowsAbreast));
        for (long column = 0; column < Columns; column += size)
        {
            int width = (int)Math.Min(size, Columns - column);
            int rowsInPanel = width == Columns ? Math.Max(size / width, 1) : 1;
            if (rowsInPanel >= PanelGeometry.RowsAbreast)
                rowsInPanel -= rowsInPanel % PanelGeometry.RowsAbreast;
            long blocks = (Rows + rowsInPanel - 1) / rowsInPanel;
            long affordable = most == int.MaxValue ? most : Math.Max(SegmentAccumulators / (accumulators * (long)width), MinimumSegments);
            long parts = Math.Clamp(Math.Min(most, affordable), 1, blocks), block = 0;
            for (long part = 1; part <= parts; part++)
            {
                // where a segment has more than a panel, the last segments are the smallest: threads end together
                long left = parts - part, end = parts == blocks ? part : blocks - (long)((Int128)blocks * left * left / (parts * parts));
                var panels = new List<Panel>();
                for (; block < end; block++)
                {
                    long row = block * rowsInPanel;
                    panels.Add(new Panel(row * Columns + column, (int)Math.Min(rowsInPanel, Rows - row), width, column));
                }

                if (part == parts && Remainder > column)
                    panels.Add(new Panel(Rows * Columns + column, 1, (int)Math.Min(width, Remainder - column), column));
                if (panels.Count > 0)
                    Add(segments, column, width, panels);
            }
        }

        return segments;
    }

    private void AddRowGroups(List<Segment> segments, int size)
    {
        if (Columns <= size)
        {
            int rowsInPanel = (int)Math.Max(size / Columns, 1);
            for (long row = 0; row < Rows; row += rowsInPanel)
            {
                int rows = (int)Math.Min(rowsInPanel, Rows - row);
                Add(segments, row, rows, [new Panel(row * Columns, rows, (int)Columns, row)]);
            }

            return;
        }

        for (long row = 0; row < Rows; row++)
        {
            for (long column = 0; column < Columns; column += size)
                Add(segments, row, 1, [new Panel(row * Columns + column, 1, (int)Math.Min(size, Columns - column), row)]);
        }
    }

    private static void Add(List<Segment> segments, long group, long groups, List<Panel> panels) =>
        segments.Add(new Segment(group, groups, segments.Count == 0 ? 0 : segments[^1].Before + segments[^1].Groups, panels));
}
