namespace FedICU.Panels;

/// <summary>
/// Runs a step for each tensor: large tensors one after the other on all threads, runs of small tensors side by side,
/// each on one thread.
/// </summary>
internal static class TensorBatches
{
    /// <summary>Runs the step for tensors 0 .. count - 1.</summary>
    /// <param name="workers">The threads that small tensors are spread over.</param>
    /// <param name="count">The number of tensors.</param>
    /// <param name="valuesOf">Returns the number of values that the step reads for a tensor.</param>
    /// <param name="largestSmall">The largest number of values of a small tensor; null makes every tensor
    /// large.</param>
    /// <param name="onOneThread">The step for a small tensor. Several may run at once.</param>
    /// <param name="onAllThreads">The step for a large tensor. Nothing else runs meanwhile.</param>
    public static void Run(
        Workers workers, int count, Func<int, long> valuesOf, long? largestSmall, Action<int> onOneThread, Action<int> onAllThreads)
    {
        for (int i = 0; i < count; i++)
        {
            int first = i;
            long values = 0;
            for (; i < count && valuesOf(i) is var own && own <= largestSmall; i++)
                values += own;
            if (i > first)
                workers.Run(i - first, values >= Workers.WorthThreads, (piece, _) => onOneThread(first + piece));
            if (i < count)
                onAllThreads(i);
        }
    }
}
