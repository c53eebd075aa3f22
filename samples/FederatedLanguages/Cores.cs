using System.Runtime.ExceptionServices;

namespace FederatedLanguages;

/// <summary>
/// Runs independent work on all CPU cores. Nothing is summed across threads, so their number has no effect on the
/// result.
/// </summary>
internal static class Cores
{
    public static void Run(int count, Action<int> work, CancellationToken cancellationToken)
    {
        var options = new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken };
        try
        {
            Parallel.For(0, count, options, work);
        }
        catch (AggregateException e)
        {
            // reports the first error only: one message is enough
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }
}
