using System.Runtime.InteropServices;
using FedICU.Memory;

namespace FedICU.Tests;

public sealed unsafe class RegionCacheTests
{
    // bytes of a huge page
    private const long HugePage = 2 << 20;

    // milliseconds that no test lasts
    private const int Forever = 3_600_000;

    [Test]
    public void RegionsAreWholeHugePages()
    {
        var cache = new RegionCache(0, Forever);
        Region region = cache.Take(5_000_000);
        Assert.That((region.Pointer % HugePage, region.Bytes), Is.EqualTo((0L, 3 * HugePage)));
        cache.Return(region);
    }

    [Test]
    public void AReturnedRegionIsTakenAgain()
    {
        var cache = new RegionCache(64 * HugePage, Forever);
        Region first = cache.Take(8 * HugePage);
        cache.Return(first);
        Assert.That(cache.KeptBytes, Is.EqualTo(8 * HugePage));
        Region second = cache.Take(7 * HugePage);
        Assert.That((second.Pointer, second.Bytes, cache.KeptBytes), Is.EqualTo((first.Pointer, first.Bytes, 0L)));
        cache.Return(second);
        cache.Trim(0);
    }

    [Test]
    public void AMuchSmallerBufferDoesNotTakeARegion()
    {
        var cache = new RegionCache(64 * HugePage, Forever);
        cache.Return(cache.Take(8 * HugePage));
        Region small = cache.Take(5 * HugePage);
        Assert.That((small.Bytes, cache.KeptBytes), Is.EqualTo((5 * HugePage, 8 * HugePage)));
        cache.Return(small);
        cache.Trim(0);
    }

    [Test]
    public void TheOldestRegionsAreFreedBeyondTheBound()
    {
        var cache = new RegionCache(10 * HugePage, Forever);
        Region[] regions = [cache.Take(4 * HugePage), cache.Take(5 * HugePage), cache.Take(3 * HugePage)];
        Array.ForEach(regions, cache.Return);
        Assert.That(cache.KeptBytes, Is.EqualTo(8 * HugePage));
        Region larger = cache.Take(11 * HugePage);
        cache.Return(larger);
        Assert.That(cache.KeptBytes, Is.Zero);
    }

    [Test]
    public void IdleRegionsAreFreed()
    {
        var cache = new RegionCache(64 * HugePage, idle: 20);
        cache.Return(cache.Take(2 * HugePage));
        Assert.That(() => cache.KeptBytes, Is.Zero.After(10_000, 10));
        // the timer runs again for a later region
        cache.Return(cache.Take(2 * HugePage));
        Assert.That(() => cache.KeptBytes, Is.Zero.After(10_000, 10));
    }

    [TestCase(typeof(DllNotFoundException))]
    [TestCase(typeof(EntryPointNotFoundException))]
    public void ASystemWithoutTheAdviceStillGivesMemory(Type error)
    {
        int calls = 0;
        var cache = new RegionCache(0, Forever)
        {
            Advise = _ =>
            {
                calls++;
                throw (Exception)Activator.CreateInstance(error)!;
            },
        };
        for (int i = 0; i < 2; i++)
        {
            Region region = cache.Take(2 * HugePage);
            NativeMemory.Fill((void*)region.Pointer, (nuint)region.Bytes, 1);
            cache.Return(region);
        }

        Assert.That(calls, Is.EqualTo(OperatingSystem.IsLinux() ? 1 : 0));
    }

    [Test]
    public void SixteenThreadsNeverShareARegion()
    {
        var cache = new RegionCache(24 * HugePage, Forever);
        int faults = 0;
        Thread[] threads = [.. Enumerable.Range(1, 16).Select(number => new Thread(() =>
        {
            var random = new Random(number);
            for (int i = 0; i < 500; i++)
            {
                Region region = cache.Take(random.Next(1, 5) * HugePage);
                int* first = (int*)region.Pointer, last = first + region.Bytes / sizeof(int) - 1;
                (*first, *last) = (number, number);
                Thread.Yield();
                if (*first != number || *last != number)
                    Interlocked.Increment(ref faults);
                cache.Return(region);
            }
        }))];
        Array.ForEach(threads, thread => thread.Start());
        Array.ForEach(threads, thread => thread.Join());
        Assert.That(faults, Is.Zero);
        Assert.That(cache.KeptBytes, Is.InRange(1, 24 * HugePage));
        cache.Trim(0);
        Assert.That(cache.KeptBytes, Is.Zero);
    }
}
