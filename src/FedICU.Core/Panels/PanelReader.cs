using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Reads runs of one tensor's elements as panels for a backend, from a file or memory and in any form that a client
/// sends. Thread-safe.
/// </summary>
internal abstract unsafe class PanelReader : IDisposable
{
    /// <summary>The type of the panels' elements.</summary>
    public abstract DType DType { get; }

    /// <summary>
    /// Whether panels are addresses in memory that holds the whole tensor, so that reading copies nothing.
    /// </summary>
    public virtual bool IsInMemory => false;

    /// <summary>Whether panels are addresses of the round's device.</summary>
    public virtual bool IsOnDevice => false;

    /// <summary>Reads the elements start .. start + count - 1. The panel is valid until the scratch is reset.</summary>
    public abstract TensorPanel Read(long start, int count, Scratch scratch);

    /// <summary>The bytes that <see cref="Preload"/> would allocate; 0 if it would have no effect.</summary>
    public virtual long PreloadBytes => 0;

    /// <summary>Reads the whole tensor into memory, for several passes.</summary>
    public virtual void Preload(NativePool memory) { }

    /// <summary>
    /// Lets the system free the memory of elements that will not be read again. Called only in rounds larger than
    /// memory.
    /// </summary>
    public virtual void Forget(long start, long count) { }

    public abstract void Dispose();
}
