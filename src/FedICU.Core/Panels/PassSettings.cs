using FedICU.Compute;

namespace FedICU.Panels;

/// <summary>The facts that hold for all passes of one run over the tensors.</summary>
/// <param name="Strategy">The strategy's name, for error sentences.</param>
/// <param name="Backend">Computes the verbs.</param>
/// <param name="Workers">The threads and the memory.</param>
/// <param name="Output">Receives the output.</param>
/// <param name="Work">Counts the bytes that each backend computes with.</param>
internal sealed record PassSettings(string Strategy, IComputeBackend Backend, Workers Workers, TensorSink Output, RoundWork Work)
{
    /// <summary>
    /// The largest size in bytes of a tensor's inputs that are read into memory for several passes. <value>Default: 256
    /// MiB, chosen.</value>
    /// </summary>
    public long PreloadBytes { get; init; } = 256 << 20;

    /// <summary>
    /// Whether the clients' files are larger than memory. Then the round releases the pages of what it has read, so
    /// that the system need not search for pages to free.
    /// </summary>
    public bool LargerThanMemory { get; init; }

    /// <summary>
    /// Reads the next tensor's files during the later passes over a tensor; null if all files fit in memory.
    /// </summary>
    public ReadAhead? ReadAhead { get; init; }

    /// <summary>Whether the output is in the memory of the backend's device.</summary>
    public bool WritesOnDevice { get; init; }

    /// <summary>
    /// Gets the function from the number of inputs to the elements of a panel that the backend prefers.
    /// </summary>
    public Func<int, int> PanelElements => field ??= Backend.GetPanelElements;

    /// <summary>The same settings for a tensor that is computed beside others, on one thread.</summary>
    public PassSettings OnOneThread() =>
        this with { Workers = new Workers(1, Workers.CancellationToken), PreloadBytes = PreloadBytes / Workers.Threads };
}
