using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using FedICU.Memory;

namespace FedICU.Tests;

/// <summary>Buffers of the process's cache; no other test may take its regions meanwhile.</summary>
[NonParallelizable]
public sealed unsafe class NativeBufferTests
{
    // bytes; a size that no other test uses
    private const long Large = 46 << 20;

    [Test]
    public void LargeBuffersAreAlignedToHugePages()
    {
        using var buffer = new NativeBuffer(RegionCache.LeastBytes + 1);
        Assert.That((long)buffer.Pointer % (2 << 20), Is.Zero);
        Assert.That(buffer.ByteLength, Is.EqualTo(RegionCache.LeastBytes + 1));
    }

    [Test]
    public void ABufferThatIsDisposedTwiceIsReturnedOnce()
    {
        var buffer = new NativeBuffer(Large);
        buffer.Dispose();
        buffer.Dispose();
        using var first = new NativeBuffer(Large);
        using var second = new NativeBuffer(Large);
        Assert.That((nint)first.Pointer, Is.Not.EqualTo((nint)second.Pointer));
        Assert.That(() => buffer.Pin(0), Throws.TypeOf<ObjectDisposedException>());
    }

    [Test]
    public void ABufferThatManyThreadsDisposeIsReturnedOnce()
    {
        for (int round = 0; round < 50; round++)
        {
            var buffer = new NativeBuffer(Large);
            Parallel.For(0, 8, _ => buffer.Dispose());
            using var first = new NativeBuffer(Large);
            using var second = new NativeBuffer(Large);
            Assert.That((nint)first.Pointer, Is.Not.EqualTo((nint)second.Pointer));
        }
    }

    [Test]
    public void TheMemoryOfAMovedBufferIsReturnedOnce()
    {
        var buffer = new NativeBuffer(Large);
        byte* memory = buffer.Pointer;
        NativeBuffer moved = buffer.Move();
        buffer.Dispose();
        using (var other = new NativeBuffer(Large))
            Assert.That((nint)other.Pointer, Is.Not.EqualTo((nint)memory));
        Assert.That((nint)moved.Pointer, Is.EqualTo((nint)memory));
        moved.Dispose();
    }

    [Test]
    public void TheGarbageCollectorReturnsABuffer()
    {
        RegionCache.Shared.Trim(0);
        Forget();
        Assert.That(() =>
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            return RegionCache.Shared.KeptBytes;
        }, Is.AtLeast(Large).After(10_000, 10));
    }

    [Test]
    public void ReusedMemoryDoesNotShowInAResult()
    {
        const int Elements = 3 << 20;
        float[] ones = new float[Elements], threes = new float[Elements];
        Array.Fill(ones, 1);
        Array.Fill(threes, 3);
        for (int round = 0; round < 2; round++)
        {
            RegionCache.Shared.Trim(0);
            using (var stale = new NativeBuffer(Elements * sizeof(float)))
                NativeMemory.Fill(stale.Pointer, (nuint)stale.ByteLength, 0xFF);
            using var next = new MemorySink();
            var aggregation = new AggregationRound(new MemoryModel { { "w", [Elements], new float[Elements] } });
            aggregation.Add(ClientUpdate.FromTensors("a", new MemoryModel { { "w", [Elements], ones } }, examples: 1));
            aggregation.Add(ClientUpdate.FromTensors("b", new MemoryModel { { "w", [Elements], threes } }, examples: 1));
            new FedAvgAggregator().AggregateAsync(aggregation, next).GetAwaiter().GetResult();
            Assert.That(next.Model.ToArray<float>("w").All(value => value == 2));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Forget() => _ = new NativeBuffer(Large);
}
