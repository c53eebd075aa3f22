namespace FedICU;

/// <summary>
/// Where a rule's state is kept between rounds: the moments of a server optimizer, for one. A round reads the state of
/// the round before and replaces it together with the model.
/// </summary>
public sealed class RoundState : IDisposable
{
    private RoundState() { }

    /// <summary>Gets the number of finished rounds of a state in memory.</summary>
    public long RoundsFinished { get; internal set; }

    /// <summary>Gets the file that is read; null for a state in memory.</summary>
    internal string? Path { get; private init; }

    /// <summary>Gets the file that is written, if it is another than <see cref="Path"/>.</summary>
    internal string? OutputPath { get; private init; }

    internal OutputOptions Options { get; private init; } = OutputOptions.Default;

    /// <summary>Gets the state in memory; null for a state in a file.</summary>
    internal MemorySink? Memory { get; private init; }

    /// <summary>Gets or sets the rule that the state in memory belongs to; null before its first round.</summary>
    internal string? Rule { get; set; }

    /// <summary>Keeps the state in a safetensors file. If the file does not exist, the round is the first.</summary>
    /// <param name="path">The file that is read, and written with the new model.</param>
    /// <param name="output">
    /// The file that is written instead; <paramref name="path"/> must then exist. Null: the same file.
    /// </param>
    /// <param name="options">How existing files are replaced; null for the defaults.</param>
    public static RoundState InFile(string path, string? output = null, OutputOptions? options = null)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        return new RoundState { Path = path, OutputPath = output, Options = options ?? OutputOptions.Default };
    }

    /// <summary>Keeps the state in memory, for servers that run round after round in one process.</summary>
    public static RoundState InMemory() => new() { Memory = new MemorySink() };

    /// <summary>Gets or sets the number of the round that wrote the state in memory; null if it is unknown.</summary>
    internal long? Round { get; set; }

    private int _isInUse;

    /// <summary>Lends a state in memory to one round.</summary>
    /// <returns>False if another round has it.</returns>
    internal bool TryLend() => Interlocked.Exchange(ref _isInUse, 1) == 0;

    /// <summary>Takes back a state that was lent.</summary>
    internal void Return() => Volatile.Write(ref _isInUse, 0);

    /// <summary>Frees a state in memory.</summary>
    public void Dispose() => Memory?.Dispose();
}
