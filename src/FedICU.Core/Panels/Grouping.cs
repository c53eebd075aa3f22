using System.Numerics;
using FedICU.Compute;

namespace FedICU.Panels;

/// <summary>
/// A tensor as a matrix whose groups are its columns, its rows or the whole of it, cut into panels and segments. The
/// cuts depend only on the shape and the number of inputs, so every reduction has the same order for any number of
/// threads. Not thread-safe.
/// </summary>
internal sealed class Grouping
{
    /// <summary>
    /// The columns of a folded row. A narrow matrix is folded: several of its rows form one long row, so that vectors
    /// are full. <value>Chosen: the coefficients of many inputs still fit in the first-level cache.</value>
    /// </summary>
    public const int FoldedColumns = 128;

    /// <summary>
    /// The most float64 accumulators that a reduction may have. <value>Chosen: more take too much memory for each
    /// segment.</value>
    /// </summary>
    public const long MaximumAccumulators = 5L << 18;

    // float64 lanes of the widest vector
    private const int Lanes = 8;

    // the most segments of a column of panels, unless the caller allows another number: chosen, and part of the fixed
    // reduction order
    private const int MaximumSegments = 32;

    // the fewest segments that a limit of accumulators leaves: chosen, and part of the fixed reduction order
    private const int MinimumSegments = 4;

    // the float64 accumulators of all segments together, above MinimumSegments: chosen, 16 MiB
    private const long SegmentAccumulators = 2L << 20;

    // the most elements of a panel to which following panels are joined: chosen
    private const int MaximumJoined = 1 << 20;

    // the most elements, of all inputs together, of a panel that is extended to full blocks of rows: chosen, see Cut
    private const long MaximumBlockElements = 1L << 24;

    // earlier cuts: a tensor has several passes, and many tensors have one shape
    private readonly List<(int Inputs, int Accumulators, int Most, List<Segment> Segments)> _segments = [];
    private readonly List<(int Inputs, List<Panel> Panels)> _panels = [];
    private readonly Func<int, int>? _panelElements;

    /// <param name="shape">The tensor's shape.</param>
    /// <param name="axis">The groups: columns, rows, or the whole tensor.</param>
    /// <param name="foldedColumns">The columns of a folded row.</param>
    /// <param name="panelElements">Returns the elements of a panel for a number of inputs; null: as for a CPU.</param>
    public Grouping(TensorShape shape, NormAxis axis, int foldedColumns = FoldedColumns, Func<int, int>? panelElements = null)
    {
        _panelElements = panelElements;
        (long rows, long columns) = shape.AsMatrix();
        if (axis == NormAxis.Tensor)
            (rows, columns) = (1, shape.ElementCount);
        GroupsAreColumns = axis == NormAxis.Columns;
        Groups = GroupsAreColumns ? columns : rows;
        Fold = GroupsAreColumns && columns > 0 ? Math.Clamp(foldedColumns / columns, 1, Math.Max(rows, 1)) : 1;
        // a folded row consists of full vectors if possible
        long full = GetRowsOfFullVectors(columns);
        if (Fold >= full)
            Fold -= Fold % full;
        (Rows, Columns) = (rows / Fold, columns * Fold);
        Remainder = rows % Fold * columns;
        Elements = shape.ElementCount;
    }

    public bool GroupsAreColumns { get; }

    /// <summary>The number of groups of the tensor.</summary>
    public long Groups { get; }

    /// <summary>The number of rows in a folded row, each of which repeats all groups.</summary>
    public long Fold { get; }

    /// <summary>The number of rows after folding, without the remainder.</summary>
    public long Rows { get; }

    /// <summary>The number of columns after folding.</summary>
    public long Columns { get; }

    /// <summary>The number of elements in the last, shorter folded row.</summary>
    public long Remainder { get; }

    public long Elements { get; }

    /// <summary>The number of groups in panels: after folding, a group has several copies.</summary>
    public long FoldedGroups => GroupsAreColumns ? Columns : Rows;

    /// <summary>Computes the number of rows that together fill whole vectors: 1, 2, 4 or 8.</summary>
    public static long GetRowsOfFullVectors(long columns) => Lanes / (long)BigInteger.GreatestCommonDivisor(Lanes, columns);

    /// <summary>A contiguous run of elements: rows x columns from the element Start on.</summary>
    /// <param name="Start">The first element.</param>
    /// <param name="Rows">The rows.</param>
    /// <param name="Columns">The columns.</param>
    /// <param name="Group">The first group.</param>
    public readonly record struct Panel(long Start, int Rows, int Columns, long Group)
    {
        public int Length => Rows * Columns;

        /// <summary>Cuts the panel into tiles of whole rows, or of parts of a row that is longer than a tile.</summary>
        /// <param name="elements">The most elements of a tile.</param>
        /// <param name="groupsAreColumns">Whether the groups are columns; otherwise they are rows.</param>
        public IEnumerable<Panel> Cut(int elements, bool groupsAreColumns)
        {
            int rows = Math.Max(elements / Columns, 1), columns = Math.Min(Columns, elements);
            for (int row = 0; row < Rows; row += rows)
            {
                for (int column = 0; column < Columns; column += columns)
                {
                    long group = Group + (groupsAreColumns ? column : row);
                    yield return new Panel(
                        Start + (long)row * Columns + column, Math.Min(rows, Rows - row), Math.Min(columns, Columns - column), group);
                }
            }
        }
    }

    /// <summary>Panels that share an accumulator.</summary>
    /// <param name="Group">The accumulator's first group.</param>
    /// <param name="Groups">The accumulator's number of groups.</param>
    /// <param name="Before">The number of groups of all segments before.</param>
    /// <param name="Panels">The panels.</param>
    public sealed record Segment(long Group, long Groups, long Before, List<Panel> Panels)
    {
        /// <summary>
        /// The same elements in fewer panels, with panels that follow each other joined. For inputs in memory, and for
        /// verbs whose sums continue from one row to the next and so do not depend on where panels end.
        /// </summary>
        public List<Panel> Joined => Panels.Count == 1 ? Panels : field ??= [.. Join()];

        private IEnumerable<Panel> Join()
        {
            Panel joined = Panels[0];
            foreach (Panel panel in Panels.Skip(1))
            {
                bool follows = panel.Start == joined.Start + joined.Length &&
                    (panel.Columns, panel.Group) == (joined.Columns, joined.Group) && joined.Length <= MaximumJoined;
                if (!follows)
                    yield return joined;
                joined = follows ? joined with { Rows = joined.Rows + panel.Rows } : panel;
            }

            yield return joined;
        }
    }

    /// <summary>Cuts the tensor into panels for a number of inputs.</summary>
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

    /// <summary>Cuts the tensor into segments, in ascending order.</summary>
    /// <param name="inputs">The number of inputs that the panels are cut for.</param>
    /// <param name="accumulators">The number of sums for each group.</param>
    /// <param name="most">The most segments of a column of panels.</param>
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
        int size = _panelElements?.Invoke(inputs) ?? PanelGeometry.GetElementsOfCpuPanel(inputs);
        var segments = new List<Segment>();
        if (Elements == 0)
            return segments;
        if (!GroupsAreColumns)
        {
            AddRowGroups(segments, size);
            return segments;
        }

        // panels of many inputs exceed the caches: a panel then has a whole block of rows, so that a group's value is
        // loaded once for them and not once for each element
        if (Columns * PanelGeometry.RowsPerBlock * inputs <= MaximumBlockElements)
            size = (int)Math.Max(size, Columns * Math.Min(Rows, PanelGeometry.RowsPerBlock));
        for (long column = 0; column < Columns; column += size)
        {
            int width = (int)Math.Min(size, Columns - column);
            int rowsInPanel = width == Columns ? Math.Max(size / width, 1) : 1;
            if (rowsInPanel >= PanelGeometry.RowsPerBlock)
                rowsInPanel -= rowsInPanel % PanelGeometry.RowsPerBlock;
            long blocks = (Rows + rowsInPanel - 1) / rowsInPanel;
            long affordable = most == int.MaxValue ? most : Math.Max(SegmentAccumulators / (accumulators * (long)width), MinimumSegments);
            long parts = Math.Clamp(Math.Min(most, affordable), 1, blocks), block = 0;
            for (long part = 1; part <= parts; part++)
            {
                // if segments have several panels, the last segments are the smallest, so that threads end together
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
