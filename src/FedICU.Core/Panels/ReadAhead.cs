using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Reads the next tensor's files into the system's cache during the later passes over a tensor: the cache still holds
/// that tensor, and the disk would be idle. The round does not depend on the data that was read, nor on success.
/// </summary>
internal sealed class ReadAhead(TensorSource global, IReadOnlyList<TensorSource> sources) : IDisposable
{
    // bytes that are read at a time: chosen
    private const int PieceBytes = 1 << 18;

    // at most one part in this many of all memory is read ahead: chosen, so that the tensor in progress stays in the
    // cache
    private const int MemoryParts = 8;

    private readonly CancellationTokenSource _end = new();
    private readonly Lock _gate = new();
    private Task? _task;
    private int _begun = -1;

    /// <summary>Begins to read the tensor of a number in the global model, unless it has been begun already.</summary>
    public void Begin(int number)
    {
        lock (_gate)
        {
            if (number <= _begun || number >= global.Tensors.Count || _end.IsCancellationRequested)
                return;
            _begun = number;
            _task = _task is null ? Task.Run(() => Read(number)) : _task.ContinueWith(_ => Read(number), TaskScheduler.Default);
        }
    }

    public void Dispose()
    {
        lock (_gate)
            _end.Cancel();
        _task?.Wait();
        _end.Dispose();
    }

    private void Read(int number)
    {
        if (number < Volatile.Read(ref _begun))
            return;
        using var unused = new NativeBuffer(PieceBytes);
        string name = global.Tensors[number].Name;
        // in the order in which the first pass will read them
        long left = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / MemoryParts, longest = 1;
        for (long at = 0; at < longest; at += PieceBytes)
        {
            foreach (TensorSource source in sources)
            {
                if (source.Find(name) is not { } tensor || Math.Min(PieceBytes, tensor.ByteLength - at) is not (var bytes and > 0))
                    continue;
                longest = Math.Max(longest, tensor.ByteLength);
                if (_end.IsCancellationRequested || (left -= bytes) < 0 || !TryRead(source, tensor, at, unused, bytes))
                    return;
            }
        }
    }

    private static unsafe bool TryRead(TensorSource source, TensorInfo tensor, long at, NativeBuffer unused, long bytes)
    {
        try
        {
            return source.TryReadAhead(tensor, at, new Span<byte>(unused.Pointer, (int)bytes));
        }
        catch (InvalidModelException)
        {
            // the pass that needs the bytes will throw
            return false;
        }
    }
}
