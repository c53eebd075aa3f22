using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// The passes over one tensor of a round: sums over all inputs (Measures), and the combinations that are written to
/// the output (Outputs). An object serves one tensor after the other and keeps what the next one can use.
/// </summary>
internal sealed unsafe partial class TensorPasses(PassSettings settings)
{
    // The largest number of groupings that are kept for later tensors of the same shape (chosen).
    private const int KeptGroupings = 64;

    // The largest number of elements of a tensor whose grouping is kept. For a larger tensor, cutting it again costs
    // nothing beside the work, and keeping its grouping would cost memory (chosen).
    private const int KeptElements = 1 << 20;

    private readonly PanelReader[] _unrounded = [new UnroundedReader()];
    private readonly Dictionary<(TensorShape, NormAxis, int FoldedColumns, bool OnDevice), Grouping> _groupings = [];
    private IPassProgress? _progress;
    private int _number, _passes;

    /// <summary>Gets the tensor in the global model.</summary>
    public TensorInfo Info { get; private set; } = null!;

    /// <summary>Gets the tensor in the output.</summary>
    public TensorInfo Output { get; private set; } = null!;

    public IComputeBackend Backend => settings.Backend;

    public Workers Workers => settings.Workers;

    /// <summary>Begins a tensor.</summary>
    /// <param name="info">The tensor in the global model.</param>
    /// <param name="output">The tensor in the output.</param>
    /// <param name="progress">Receives the progress on the tensor; null if nobody asks.</param>
    /// <param name="number">The tensor's number in the global model.</param>
    public void Begin(TensorInfo info, TensorInfo output, IPassProgress? progress, int number)
    {
        (Info, Output, _progress, _number, _passes) = (info, output, progress, number, 0);
        (IsWritten, Finish) = (false, null);
    }

    /// <summary>Rents memory for one value of each input and group.</summary>
    public GroupBuffer NewGroups(int inputs, long groups, bool clear = true) => Workers.Memory.Rent(inputs, groups, clear);

    /// <summary>
    /// Allocates memory for a combination of the inputs in float64, on the device or on the host. Returns null if the
    /// device has no memory left.
    /// </summary>
    public Unrounded? NewUnrounded(bool onDevice)
    {
        long bytes = Info.ElementCount * sizeof(double);
        if (onDevice)
        {
            IDisposable? memory = Backend.AllocateOnDevice(bytes, out nint address);
            return memory is null ? null : new Unrounded(memory, (void*)address, onDevice: true);
        }

        NativeBuffer buffer = Workers.Memory.Rent(bytes);
        return new Unrounded(buffer, buffer.Pointer, onDevice: false);
    }

    /// <summary>Returns an unrounded combination as the only input of the next verb.</summary>
    public PanelReader[] Read(Unrounded values)
    {
        ((UnroundedReader)_unrounded[0]).Values = values;
        return _unrounded;
    }

    /// <summary>Returns how the tensor is cut into groups and panels.</summary>
    public Grouping GroupingBy(NormAxis axis, int foldedColumns = Grouping.FoldedColumns, bool onDevice = false)
    {
        if (_groupings.TryGetValue((Info.Shape, axis, foldedColumns, onDevice), out Grouping? grouping))
            return grouping;
        grouping = new Grouping(Info.Shape, axis, foldedColumns, onDevice ? CountOnDevice : settings.PanelElements);
        if (_groupings.Count < KeptGroupings && Info.ElementCount <= KeptElements)
            _groupings.Add((Info.Shape, axis, foldedColumns, onDevice), grouping);
        return grouping;
    }

    private int CountOnDevice(int inputs) => Backend.GetPanelElementsOnDevice(settings.WritesOnDevice);

    /// <summary>
    /// Reads inputs from files into memory if all of them fit the round's budget. Strategies with several passes call
    /// it.
    /// </summary>
    public void Preload(PanelReader[] inputs)
    {
        long bytes = 0;
        foreach (PanelReader reader in inputs)
            bytes += reader.PreloadBytes;
        if (bytes > 0 && bytes <= settings.PreloadBytes)
        {
            Workers.Run(
                inputs.Length, parallel: true, (inputs, Workers.Memory), static (state, k, _) => state.inputs[k].Preload(state.Memory));
            Forget(inputs, 0, Info.ElementCount);
        }
    }

    /// <summary>
    /// Runs the pieces of one pass over the inputs and reports its progress. The last pass writes the output.
    /// </summary>
    public void RunPass<T>(int pieces, bool parallel, bool last, T state, Action<T, int, Scratch> piece)
    {
        if (_passes++ > 0)
            settings.ReadAhead?.Begin(_number + 1);
        if (_progress is null)
        {
            Workers.Run(pieces, parallel, state, piece);
            return;
        }

        _progress.BeginPass(pieces, last);
        Workers.Run(pieces, parallel, Observe(_progress, state, piece));
    }

    public bool UsesThreads(PanelReader[] inputs) => Info.ElementCount * inputs.Length >= Workers.WorthThreads;

    public PanelRuns Runs(ReadOnlySpan<PanelReader> inputs, List<Grouping.Panel> panels) =>
        PanelRun.Cut(panels, inputs, Info.ElementCount, Workers.Threads);

    private static Action<int, Scratch> Observe<T>(IPassProgress progress, T state, Action<T, int, Scratch> piece) => (i, scratch) =>
    {
        piece(state, i, scratch);
        progress.EndPiece();
    };

    /// <summary>Tells the inputs of a round larger than memory that these elements will not be read again.</summary>
    private void Forget(PanelReader[] inputs, long start, long count)
    {
        for (int k = 0; k < inputs.Length && settings.LargerThanMemory; k++)
            inputs[k].Forget(start, count);
    }

    private static PanelGeometry Geometry(Grouping grouping, Grouping.Panel panel) =>
        new(panel.Rows, panel.Columns, grouping.GroupsAreColumns);

    private static GroupValues At(GroupValues values, Grouping.Panel panel) => new(values.Data + panel.Group, values.Stride);

    /// <summary>Repeats each group's value for its folded copies; null if the grouping folds nothing.</summary>
    private GroupBuffer? Folded(Grouping grouping, GroupBuffer values)
    {
        if (grouping.Fold == 1)
            return null;
        var folded = NewGroups(values.Inputs, grouping.FoldedGroups, clear: false);
        int groups = (int)grouping.Groups;
        for (int k = 0; k < values.Inputs; k++)
        {
            // each step doubles the number of copies
            Span<double> row = folded[k];
            values[k].CopyTo(row);
            for (int done = groups; done < row.Length; done *= 2)
                row[..Math.Min(done, row.Length - done)].CopyTo(row[done..]);
        }

        return folded;
    }
}
