using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;

namespace FedICU;

/// <summary>Runs the numbered pieces of a round's work on several threads. Which thread takes a piece has no effect on any result.</summary>
internal sealed class Workers(int threads, CancellationToken cancellationToken) : IDisposable
{
    /// <summary>Below so many values, threads cost more than they bring.</summary>
    public const long WorthThreads = 1 << 17;

    private readonly ConcurrentBag<Scratch> _scratch = [];
    // of these the one that a thread alone takes, over and over
    private Scratch? _nearest;

    public int Threads { get; } = threads > 0 ? threads : Environment.ProcessorCount;

    public CancellationToken CancellationToken => cancellationToken;

    /// <summary>Memory of steps between looks, kept until the round is over.</summary>
    public NativePool Memory { get; } = new();

    /// <summary>Runs pieces 0 .. count - 1, on this thread alone where <paramref name="parallel"/> is false.</summary>
    public void Run(int count, bool parallel, Action<int, Scratch> piece) => Run(count, parallel, piece, static (piece, i, scratch) => piece(i, scratch));

    /// <summary>The same with what the pieces need handed to them, so that a tensor's small looks allocate nothing.</summary>
    public void Run<T>(int count, bool parallel, T state, Action<T, int, Scratch> piece)
    {
        int workers = parallel ? Math.Min(Threads, count) : 1;
        if (workers > 1)
        {
            RunParallel(count, workers, state, piece);
            return;
        }

        Scratch scratch = Rent();
        try
        {
            for (int i = 0; i < count; i++)
            {
                cancellationToken.ThrowIfCancellationRequested();
                scratch.Reset();
                piece(state, i, scratch);
            }
        }
        finally
        {
            Return(scratch);
        }
    }

    private void RunParallel<T>(int count, int workers, T state, Action<T, int, Scratch> piece)
    {
        int next = -1;
        // the failure of the lowest piece is the one told, so that a faulty round says the same on any number of threads
        (int Piece, Exception Error)? failure = null;
        var gate = new Lock();
        Parallel.For(0, workers, new ParallelOptions { MaxDegreeOfParallelism = workers }, _ =>
        {
            Scratch scratch = Rent();
            int i = 0;
            try
            {
                while (failure is null && (i = Interlocked.Increment(ref next)) < count)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    scratch.Reset();
                    piece(state, i, scratch);
                }
            }
            catch (Exception e)
            {
                lock (gate)
                {
                    if (failure is null || i < failure.Value.Piece)
                        failure = (i, e);
                }
            }
            finally
            {
                Return(scratch);
            }
        });
        if (failure is { } failed)
            ExceptionDispatchInfo.Throw(failed.Error);
    }

    public void Dispose()
    {
        _nearest?.Dispose();
        while (_scratch.TryTake(out Scratch? scratch))
            scratch.Dispose();
        Memory.Dispose();
    }

    private Scratch Rent() => Interlocked.Exchange(ref _nearest, null) ?? (_scratch.TryTake(out Scratch? scratch) ? scratch : new Scratch());

    private void Return(Scratch scratch)
    {
        if (Interlocked.Exchange(ref _nearest, scratch) is { } other)
            _scratch.Add(other);
    }
}

/// <summary>Memory that a worker hands out piece by piece and takes back all at once.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private readonly List<NativeBuffer> _overflow = [];
    private NativeBuffer? _buffer;
    private long _used;
    private long _wanted;

    /// <summary>Memory valid until <see cref="Reset"/>; not cleared.</summary>
    public byte* Take(long bytes)
    {
        bytes = Apart(bytes);
        _wanted += bytes;
        if (_buffer is not null && _used + bytes <= _buffer.ByteLength)
        {
            byte* taken = _buffer.Pointer + _used;
            _used += bytes;
            return taken;
        }

        var more = new NativeBuffer(bytes);
        _overflow.Add(more);
        return more.Pointer;
    }

    /// <summary>The bytes that so many take: panels of different inputs that lie whole pages apart would share sets of the first cache.</summary>
    public static long Apart(long bytes)
    {
        const int Page = 4096, Line = 64;
        bytes = NativeBuffer.Align(bytes);
        return bytes >= Page && bytes % Page == 0 ? bytes + Line : bytes;
    }

    /// <summary>Makes room at once for what will be taken piece by piece; where something was taken before, nothing is done.</summary>
    public void Reserve(long bytes)
    {
        if (bytes == 0 || _wanted > 0 || _buffer?.ByteLength >= bytes)
            return;
        _buffer?.Dispose();
        _buffer = new NativeBuffer(bytes);
    }

    /// <summary>Takes all back; what did not fit once fits from then on.</summary>
    public void Reset()
    {
        if (_overflow.Count > 0)
        {
            Free();
            _buffer = new NativeBuffer(_wanted);
        }

        (_used, _wanted) = (0, 0);
    }

    public void Dispose() => Free();

    private void Free()
    {
        _buffer?.Dispose();
        _buffer = null;
        _overflow.ForEach(buffer => buffer.Dispose());
        _overflow.Clear();
    }
}
