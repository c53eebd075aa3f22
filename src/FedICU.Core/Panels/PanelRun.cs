using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Panels that follow each other and are read at once, because a few large reads of a file cost less than many small
/// ones (docs/adr/0010). Verbs still receive single panels. So the cut into runs may depend on the number of threads
/// without changing a bit of the result.
/// </summary>
internal readonly struct PanelRun(List<Grouping.Panel> panels, int first, int count, int length)
{
    // the bytes of a worker's run, of all inputs together: chosen, the caches still hold them when they are computed
    private const long WorkerBytes = 4 << 20;

    // the most bytes of an input in a run: chosen, larger reads of a disk are not faster
    private const long MaximumInputBytes = 1 << 20;

    // the fewest bytes of an input in a run of thousands of inputs: chosen, below it calls cost more than bytes
    private const long MinimumInputBytes = 16 << 10;

    // the most bytes of all workers' runs that MinimumInputBytes may lead to: chosen
    private const long AllWorkersBytes = 256 << 20;

    // the fewest runs of a tensor for each thread: chosen, so that threads end together
    private const int RunsPerThread = 2;

    public int First => first;

    public int Count => count;

    /// <summary>The first element.</summary>
    public long Start => panels[first].Start;

    /// <summary>The number of elements of all panels.</summary>
    public int Length => length;

    public Grouping.Panel this[int i] => panels[first + i];

    /// <summary>
    /// Cuts panels into runs. For inputs in memory each panel is a run, as larger reads have no advantage.
    /// </summary>
    public static PanelRuns Cut(List<Grouping.Panel> panels, ReadOnlySpan<PanelReader> inputs, long elements, int threads)
    {
        long most = ComputeMaximumElements(inputs, elements, threads);
        if (most == 0)
            return new PanelRuns(panels, null);
        var runs = new List<PanelRun>();
        for (int first = 0; first < panels.Count;)
        {
            int end = first, length = 0;
            do
                length += panels[end++].Length;
            while (end < panels.Count && panels[end].Start == panels[first].Start + length && length + panels[end].Length <= most);
            runs.Add(new PanelRun(panels, first, end - first, length));
            first = end;
        }

        return new PanelRuns(panels, runs);
    }

    /// <summary>
    /// Reads the run of all inputs. The result is the first panel; <see cref="Next"/> moves it to the others.
    /// </summary>
    public unsafe Span<TensorPanel> Read(ReadOnlySpan<PanelReader> inputs, Scratch scratch)
    {
        long bytes = 0;
        foreach (PanelReader input in inputs)
            bytes += input.IsInMemory ? 0 : Scratch.PaddedLength((long)length * input.DType.BitSize / 8);
        // and for the verb's output
        if (bytes > 0)
            bytes += Scratch.PaddedLength((long)length * sizeof(double)) + NativeBuffer.Align(inputs.Length * sizeof(TensorPanel));
        scratch.Reserve(bytes);
        var read = new Span<TensorPanel>(scratch.Take(inputs.Length * sizeof(TensorPanel)), inputs.Length);
        for (int k = 0; k < read.Length; k++)
            read[k] = inputs[k].Read(Start, length, scratch);
        return read;
    }

    /// <summary>
    /// Moves the result of <see cref="Read"/> from panel i - 1 to panel i; for i = 0 it is not changed.
    /// </summary>
    public unsafe Span<TensorPanel> Next(Span<TensorPanel> read, int i)
    {
        long skipped = i == 0 ? 0 : this[i].Start - this[i - 1].Start;
        for (int k = 0; k < read.Length && skipped > 0; k++)
            read[k] = read[k].From(skipped);
        return read;
    }

    private static long ComputeMaximumElements(ReadOnlySpan<PanelReader> inputs, long elements, int threads)
    {
        long size = 0;
        foreach (PanelReader input in inputs)
            size = input.IsInMemory ? size : Math.Max(size, input.DType.BitSize / 8);
        if (size == 0)
            return 0;
        long worker = Math.Max(WorkerBytes, Math.Min(MinimumInputBytes * inputs.Length, AllWorkersBytes / threads));
        return Math.Min(Math.Min(worker / inputs.Length, MaximumInputBytes) / size, elements / (RunsPerThread * threads));
    }
}
