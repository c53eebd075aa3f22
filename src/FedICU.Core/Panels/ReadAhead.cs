using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// While a tensor is looked at again, whose bytes the system still has, the disk would be idle: meanwhile the next tensor's are read, for the system to keep. Nothing
/// depends on what was read, nor on whether it could be.
/// </summary>
internal sealed class ReadAhead(TensorSource global, IReadOnlyList<TensorSource> sources) : IDisposable
{
    private const int PieceBytes = 1 << 18;

    // of all memory, so that what is looked at again stays there
    private const int ShareOfMemory = 8;

    private readonly CancellationTokenSource _end = new();
    private readonly Lock _gate = new();
    private Task? _task;
    private int _begun = -1;

    /// <summary>Begins with the tensor of this number in the global model, unless it has begun already.</summary>
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
        // in the order in which the first look will want them
        long left = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / ShareOfMemory, longest = 1;
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
            // the look that wants the bytes will say so
            return false;
        }
    }
}
