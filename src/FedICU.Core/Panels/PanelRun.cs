using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Panels that follow each other and are read at once: of files, few large reads cost less than many small ones (docs/adr/0010). Verbs still see panel by panel, so that
/// how runs are cut changes no bit, and they may follow the number of threads.
/// </summary>
internal readonly struct PanelRun(List<Grouping.Panel> panels, int first, int count, int length)
{
    // a worker's panels of all inputs, which the caches still hold when they are computed; of each input at most what makes a disk as fast as it gets, and of thousands
    // of inputs not so little that calls cost more than bytes
    private const long WorkerBytes = 4 << 20, MostOfInput = 1 << 20, LeastOfInput = 16 << 10, AllWorkersBytes = 256 << 20;
    private const int PiecesPerThread = 2;

    public int First => first;

    public int Count => count;

    /// <summary>The first element.</summary>
    public long Start => panels[first].Start;

    /// <summary>Elements of all panels.</summary>
    public int Length => length;

    public Grouping.Panel this[int i] => panels[first + i];

    /// <summary>Cuts panels into runs; inputs in memory gain nothing by it, and each of their panels is one.</summary>
    public static PanelRuns Cut(List<Grouping.Panel> panels, ReadOnlySpan<PanelReader> inputs, long elements, int threads)
    {
        long most = MostElements(inputs, elements, threads);
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

    /// <summary>Reads the run of all inputs: its first panel, then others by <see cref="Next"/>.</summary>
    public unsafe Span<TensorPanel> Read(ReadOnlySpan<PanelReader> inputs, Scratch scratch)
    {
        long bytes = 0;
        foreach (PanelReader input in inputs)
            bytes += input.IsInMemory ? 0 : Scratch.Apart((long)length * input.DType.BitSize / 8);
        // and for what the verb writes
        scratch.Reserve(bytes > 0 ? bytes + Scratch.Apart((long)length * sizeof(double)) + NativeBuffer.Align(inputs.Length * sizeof(TensorPanel)) : 0);
        var read = new Span<TensorPanel>(scratch.Take(inputs.Length * sizeof(TensorPanel)), inputs.Length);
        for (int k = 0; k < read.Length; k++)
            read[k] = inputs[k].Read(Start, length, scratch);
        return read;
    }

    /// <summary>Of what <see cref="Read"/> gave, goes from panel i - 1 to panel i.</summary>
    public Span<TensorPanel> Next(Span<TensorPanel> read, int i)
    {
        long skipped = i == 0 ? 0 : this[i].Start - this[i - 1].Start;
        for (int k = 0; k < read.Length && skipped > 0; k++)
            read[k] = read[k].From(skipped);
        return read;
    }

    private static long MostElements(ReadOnlySpan<PanelReader> inputs, long elements, int threads)
    {
        long size = 0;
        foreach (PanelReader input in inputs)
            size = input.IsInMemory ? size : Math.Max(size, input.DType.BitSize / 8);
        if (size == 0)
            return 0;
        long worker = Math.Max(WorkerBytes, Math.Min(LeastOfInput * inputs.Length, AllWorkersBytes / threads));
        return Math.Min(Math.Min(worker / inputs.Length, MostOfInput) / size, elements / (PiecesPerThread * threads));
    }
}
