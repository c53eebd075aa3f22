using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Runs the numbered pieces of a round's work on several threads. No result depends on which thread runs a piece.
/// </summary>
internal sealed class Workers(int threads, CancellationToken cancellationToken) : IDisposable
{
    /// <summary>
    /// The fewest values for which several threads are used. <value>Chosen: below it threads cost more than they
    /// save.</value>
    /// </summary>
    public const long WorthThreads = 1 << 17;

    private readonly ConcurrentBag<Scratch> _scratch = [];
    // one more of them, which a single thread rents again and again without the bag's cost
    private Scratch? _nearest;

    public int Threads { get; } = threads > 0 ? threads : Environment.ProcessorCount;

    public CancellationToken CancellationToken => cancellationToken;

    /// <summary>Memory for values that are kept between passes. It is freed when the round is over.</summary>
    public NativePool Memory { get; } = new();

    /// <summary>Runs pieces 0 .. count - 1, on this thread alone if <paramref name="parallel"/> is false.</summary>
    public void Run(int count, bool parallel, Action<int, Scratch> piece) =>
        Run(count, parallel, piece, static (piece, i, scratch) => piece(i, scratch));

    /// <summary>
    /// Runs pieces that receive a state, so that passes over small tensors need not allocate a closure.
    /// </summary>
    public void Run<T>(int count, bool parallel, T state, Action<T, int, Scratch> piece)
    {
        int workers = parallel ? Math.Min(Threads, count) : 1;
        if (workers > 1)
        {
            RunParallel(count, workers, Bind(state, piece));
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

    /// <summary>
    /// Allocates a closure, which costs nothing beside threads. So only one thread needs code for each type of state.
    /// </summary>
    private static Action<int, Scratch> Bind<T>(T state, Action<T, int, Scratch> piece) => (i, scratch) => piece(state, i, scratch);

    private void RunParallel(int count, int workers, Action<int, Scratch> piece)
    {
        int next = -1;
        // the failure of the lowest piece is thrown, so that a faulty round fails the same way on any number of threads
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
                    piece(i, scratch);
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

    private Scratch Rent() =>
        Interlocked.Exchange(ref _nearest, null) ?? (_scratch.TryTake(out Scratch? scratch) ? scratch : new Scratch());

    private void Return(Scratch scratch)
    {
        if (Interlocked.Exchange(ref _nearest, scratch) is { } other)
            _scratch.Add(other);
    }
}
