using System.Diagnostics;
using System.Runtime.InteropServices;
using TorchSharp;

namespace FedICU.Experiments;

/// <summary>
/// Checks that garbage collections during training change no bit. TorchSharp frees a scalar as soon as it is collected,
/// even while native code reads it.
/// </summary>
internal static class Stress
{
    // chosen: more clients than CPUs, so that threads are interrupted everywhere; short runs, so that many are compared
    private const int Clients = 4, Steps = 4, Rows = 4;

    /// <summary>Trains clients side by side during endless collections, and compares with a run without them.</summary>
    /// <param name="seconds">The time after which no further run begins.</param>
    /// <param name="cancellationToken">Checked at each step.</param>
    /// <returns>A sentence with the result, and whether every run was equal.</returns>
    public static (string Sentence, bool IsEqual) Run(int seconds, CancellationToken cancellationToken)
    {
        var random = new Random(1);
        Transformer model = Transformer.Random(random);
        int[] text = [.. Enumerable.Range(0, 64 * Transformer.Context).Select(_ => random.Next(BytePair.Vocabulary))];
        byte[][] expected = TrainAll(model, text, cancellationToken);
        int runs = 0, unequal = 0, failed = 0;
        string? firstFailure = null;
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var collector = new Thread(() =>
        {
            while (!ended.IsCancellationRequested)
            {
                GC.Collect(0, GCCollectionMode.Forced);
                GC.WaitForPendingFinalizers();
            }
        });
        collector.Start();
        try
        {
            for (var time = Stopwatch.StartNew(); time.Elapsed.TotalSeconds < seconds; runs++)
            {
                try
                {
                    byte[][] found = TrainAll(model, text, cancellationToken);
                    unequal += found.Zip(expected).All(pair => pair.First.AsSpan().SequenceEqual(pair.Second)) ? 0 : 1;
                }
                catch (ExternalException e)
                {
                    failed++;
                    firstFailure ??= e.Message.Split('\n')[0];
                }
            }
        }
        finally
        {
            ended.Cancel();
            collector.Join();
        }

        string sentence = $"{runs} runs of {Clients} clients with {GC.CollectionCount(0)} collections: " +
            $"{runs - unequal - failed} equal, {unequal} with other weights, {failed} failed.";
        return (firstFailure is null ? sentence : $"{sentence} The first failure: {firstFailure}", unequal + failed == 0);
    }

    private static byte[][] TrainAll(Transformer model, int[] text, CancellationToken cancellationToken)
    {
        var options = new ExperimentOptions(1, Steps, Rows, 2e-3, 1, 1);
        byte[][] trained = new byte[Clients][];
        Exception? failure = null;
        Thread[] threads = [.. Enumerable.Range(0, Clients).Select(k => new Thread(() =>
        {
            try
            {
                using Adapter start = Adapter.Random(new Random(k), Adapter.DefaultRank, Adapter.DefaultRank), adapter = start.Trainable();
                Training.Run(model, adapter, [text], [1], Steps, options, new Random(k), 1, null, cancellationToken);
                trained[k] = [.. adapter.Factors.Values.SelectMany(factor => factor.bytes.ToArray())];
            }
            catch (Exception e)
            {
                failure = e;
            }
        }))];
        foreach (Thread thread in threads)
            thread.Start();
        foreach (Thread thread in threads)
            thread.Join();
        return failure is null ? trained : throw failure;
    }
}
