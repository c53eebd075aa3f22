using System.Runtime.ExceptionServices;

namespace FederatedLanguages;

/// <summary>Independent pieces of work on the cores at hand. Nothing is summed across threads, so their number has no effect on the result.</summary>
internal static class Cores
{
    public static void Run(int count, Action<int> work, CancellationToken cancellationToken)
    {
        try
        {
            Parallel.For(0, count, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken }, work);
        }
        catch (AggregateException e)
        {
            // one sentence is enough, and it stands in the first
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }
}
