using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;
using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// What the memory gives: the clients' models read with the widest vectors, one after the other or ten abreast as a sum of ten clients reads them; and
/// copied. The best reading is the ceiling.
/// </summary>
public unsafe class Ceiling
{
    private const int Step = 256, Abreast = 10, Ahead = 1024;

    private byte* _copy;

    [ParamsSource(nameof(ThreadCounts))]
    public int Threads { get; set; }

    public static IEnumerable<int> ThreadCounts => Environment.ProcessorCount == 1 ? [1] : [1, Environment.ProcessorCount];

    /// <summary>The bytes a pass reads.</summary>
    internal static long Bytes => Streams * Length;

    private static int Streams => Math.Min(Suite.Workload.Memory.Models, Abreast);

    // a pass of more than a gigabyte tells nothing new
    private static long Length => Math.Min(Suite.Workload.Memory.Length, 100 << 20);

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
    public void ReadAbreast() => Each(thread => Sum(Models(), From(thread), From(thread + 1), ahead: false));

    [Benchmark(Description = "read, ten streams, asked for ahead")]
    public void ReadAhead() => Each(thread => Sum(Models(), From(thread), From(thread + 1), ahead: true));

    [Benchmark(Description = "copy")]
    public void Copy() => EachModel((model, from, to) => Buffer.MemoryCopy(model + from, _copy + from, to - from, to - from));

    [Benchmark(Description = "copy, stores past the caches")]
    public void CopyPastCaches() => EachModel((model, from, to) => Stream(model, _copy, from, to));

    private delegate void Part(byte* model, long from, long to);

    /// <summary>A part of every model for each thread, model after model.</summary>
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

    private static void Sum(byte*[] models, long from, long to, bool ahead)
    {
        Vector512<ulong> sum = default;
        for (long at = from; at < to; at += Step)
        {
            foreach (byte* model in models)
            {
                for (int line = 0; line < Step && ahead && Sse.IsSupported; line += 64)
                    Sse.Prefetch0(model + at + Ahead + line);
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

    private static void Stream(byte* model, byte* copy, long from, long to)
    {
        for (long at = from; at < to; at += Vector512<byte>.Count)
            Vector512.StoreAlignedNonTemporal(Vector512.Load(model + at), copy + at);
    }

    // a sum that nobody takes would not be made
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Keep(Vector512<ulong> sum) => _ = sum;
}
