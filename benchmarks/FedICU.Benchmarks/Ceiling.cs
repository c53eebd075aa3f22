using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures the speed of the memory: reads the clients' models with the widest vectors, one after the other or ten side
/// by side as a sum of ten clients does, and copies them. The fastest read is the ceiling.
/// </summary>
public unsafe class Ceiling
{
    // bytes of a step: four 512-bit vectors
    private const int Step = 256;

    // models that are read side by side; the suite's usual number of clients
    private const int MostStreams = 10;

    // bytes between the current position and the prefetched one; chosen
    private const int PrefetchDistance = 1024;

    // bytes of a model that are read at most; chosen: a pass of more than a gigabyte shows nothing new
    private const long MostBytes = 100 << 20;

    private byte* _copy;

    [ParamsSource(nameof(ThreadCounts))]
    public int Threads { get; set; }

    public static IEnumerable<int> ThreadCounts => Environment.ProcessorCount == 1 ? [1] : [1, Environment.ProcessorCount];

    /// <summary>The bytes that a pass reads.</summary>
    internal static long Bytes => Streams * Length;

    private static int Streams => Math.Min(Suite.Workload.Memory.Models, MostStreams);

    private static long Length => Math.Min(Suite.Workload.Memory.Length, MostBytes);

    [GlobalSetup]
    public void Setup()
    {
        _copy = (byte*)NativeMemory.AlignedAlloc((nuint)Length, 1 << 21);
        NativeMemory.Clear(_copy, (nuint)Length);
    }

    [GlobalCleanup]
    public void Cleanup() => NativeMemory.AlignedFree(_copy);

    [Benchmark(Description = "read, one stream")]
    public void Read() => EachModel((model, from, to) => Sum(model + from, model + to));

    [Benchmark(Description = "read, ten streams")]
    public void ReadTenStreams() => Each(thread => Sum(Models(), From(thread), From(thread + 1), prefetch: false));

    [Benchmark(Description = "read, ten streams, prefetched")]
    public void ReadPrefetched() => Each(thread => Sum(Models(), From(thread), From(thread + 1), prefetch: true));

    [Benchmark(Description = "copy")]
    public void Copy() => EachModel((model, from, to) => Buffer.MemoryCopy(model + from, _copy + from, to - from, to - from));

    [Benchmark(Description = "copy, non-temporal stores")]
    public void CopyNonTemporal() => EachModel((model, from, to) => CopyNonTemporal(model, _copy, from, to));

    private delegate void Part(byte* model, long from, long to);

    /// <summary>Gives each thread a part of every model, model after model.</summary>
    private void EachModel(Part part) => Each(thread =>
    {
        for (int model = 0; model < Streams; model++)
            part(Suite.Workload.Memory.Data(model), From(thread), From(thread + 1));
    });

    private long From(int thread) => Length / Step * thread / Threads * Step;

    private void Each(Action<int> part)
    {
        if (Threads == 1)
            part(0);
        else
            Parallel.For(0, Threads, new ParallelOptions { MaxDegreeOfParallelism = Threads }, part);
    }

    private static void Sum(byte* from, byte* to)
    {
        Vector512<ulong> sum = default;
        for (byte* at = from; at < to; at += Step)
            sum = Add(sum, at);
        Keep(sum);
    }

    private static byte*[] Models()
    {
        byte*[] models = new byte*[Streams];
        for (int i = 0; i < models.Length; i++)
            models[i] = Suite.Workload.Memory.Data(i);
        return models;
    }

    private static void Sum(byte*[] models, long from, long to, bool prefetch)
    {
        Vector512<ulong> sum = default;
        for (long at = from; at < to; at += Step)
        {
            foreach (byte* model in models)
            {
                for (int line = 0; line < Step && prefetch && Sse.IsSupported; line += 64)
                    Sse.Prefetch0(model + at + PrefetchDistance + line);
                sum = Add(sum, model + at);
            }
        }

        Keep(sum);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ulong> Add(Vector512<ulong> sum, byte* at)
    {
        Vector512<ulong>* values = (Vector512<ulong>*)at;
        return sum ^ (values[0] ^ values[1] ^ (values[2] ^ values[3]));
    }

    private static void CopyNonTemporal(byte* model, byte* copy, long from, long to)
    {
        for (long at = from; at < to; at += Vector512<byte>.Count)
            Vector512.StoreAlignedNonTemporal(Vector512.Load(model + at), copy + at);
    }

    // keeps the compiler from removing a sum that is not used
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Keep(Vector512<ulong> sum) => _ = sum;
}
