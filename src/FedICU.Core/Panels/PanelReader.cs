using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>Reads runs of one tensor's elements, wherever they are and in whatever form they were sent, as panels for a backend. Thread-safe.</summary>
internal abstract unsafe class PanelReader : IDisposable
{
    public abstract DType DType { get; }

    /// <summary>Whether all of the tensor lies in memory as it is read.</summary>
    public virtual bool IsInMemory => false;

    /// <summary>Whether panels are addresses of the round's device.</summary>
    public virtual bool IsOnDevice => false;

    /// <summary>The elements start .. start + count - 1, valid until the scratch is reset.</summary>
    public abstract TensorPanel Read(long start, int count, Scratch scratch);

    /// <summary>Bytes that <see cref="Preload"/> would allocate; 0 where nothing is to be gained.</summary>
    public virtual long PreloadBytes => 0;

    /// <summary>Brings the whole tensor into memory, for a strategy that will look at it more than once.</summary>
    public virtual void Preload(NativePool memory) { }

    /// <summary>Elements that will not be read again; told only in rounds larger than memory.</summary>
    public virtual void Forget(long start, long count) { }

    public abstract void Dispose();
}
