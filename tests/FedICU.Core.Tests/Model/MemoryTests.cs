using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedICU.Tests;

/// <summary>Models and sinks in memory: the lifetime of their memory, and bounds checks.</summary>
internal sealed class MemoryTests
{
    private static readonly MemoryModel First = Models.Of("w", [3], 1, 2, 3), Second = Models.Of("w", [3], 4, 5, 6);
    private static readonly TensorInfo Info = First.Tensors[0];
    private static readonly IReadOnlyDictionary<string, string> NoMetadata = new Dictionary<string, string>();

    [Test]
    public void AModelOutlivesItsCollectedSink()
    {
        (MemoryModel model, WeakReference sink) = Forgotten();
        Collect();
        Assert.That(sink.IsAlive, Is.False);
        Assert.That(model.ToArray<float>("w"), Is.EqualTo(new float[] { 1, 2, 3 }));

        [MethodImpl(MethodImplOptions.NoInlining)]
        static (MemoryModel, WeakReference) Forgotten()
        {
            var sink = new MemorySink();
            First.SaveTo(sink);
            return (sink.Model, new WeakReference(sink));
        }
    }

    [Test]
    public unsafe void ALentTensorOutlivesItsModel()
    {
        (MemoryHandle memory, WeakReference model) = Lent();
        Collect();
        Assert.That(model.IsAlive, Is.False);
        Assert.That(new ReadOnlySpan<float>(memory.Pointer, 3).ToArray(), Is.EqualTo(new float[] { 1, 2, 3 }));
        memory.Dispose();

        [MethodImpl(MethodImplOptions.NoInlining)]
        static (MemoryHandle, WeakReference) Lent()
        {
            var sink = new MemorySink();
            First.SaveTo(sink);
            Assert.That(sink.Model.TryPin(Info, out MemoryHandle memory));
            return (memory, new WeakReference(sink.Model));
        }
    }

    [Test]
    public void AFreedModelThrows()
    {
        var sink = new MemorySink();
        First.SaveTo(sink);
        MemoryModel model = sink.Model;
        sink.Dispose();
        sink.Dispose();
        Assert.That(() => model.ToArray<float>("w"), Throws.InstanceOf<ObjectDisposedException>());
        Assert.That(() => model.TryPin(Info, out _), Throws.InstanceOf<ObjectDisposedException>());
        Assert.That(() => sink.Model, Throws.InvalidOperationException);
    }

    [Test]
    public void AnOldModelNeverShowsTheDataOfANewerOne()
    {
        using var sink = new MemorySink();
        First.SaveTo(sink);
        MemoryModel first = sink.Model;
        Second.SaveTo(sink);
        MemoryModel second = sink.Model;
        Assert.That(first.ToArray<float>("w"), Is.EqualTo(new float[] { 1, 2, 3 }));
        Models.Of("w", [3], 7, 8, 9).SaveTo(sink);
        Assert.That(() => first.ToArray<float>("w"), Throws.InstanceOf<ObjectDisposedException>());
        Assert.That(second.ToArray<float>("w"), Is.EqualTo(new float[] { 4, 5, 6 }));
        Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 7, 8, 9 }));
    }

    [Test]
    public void ASinkWritesOneModelAtATime()
    {
        using var sink = new MemorySink();
        Assert.That(sink.Commit, Throws.InvalidOperationException);
        Assert.That(() => sink.Write(Info, 0, new byte[4]), Throws.InvalidOperationException);
        sink.Abort();
        sink.Begin([Info], NoMetadata);
        sink.Write(Info, 0, MemoryMarshal.AsBytes<float>([7, 8, 9]));
        Assert.That(() => sink.Begin([Info], NoMetadata), Throws.InvalidOperationException);
        // A copy or a round that finds the sink in use does not disturb the model being written.
        Assert.That(() => First.SaveTo(sink), Throws.InvalidOperationException);
        var round = new AggregationRound(First) { ClientUpdate.FromTensors("a", Second, 1) };
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(round, sink), Throws.InvalidOperationException);
        sink.Commit();
        Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 7, 8, 9 }));
        Assert.That(sink.Commit, Throws.InvalidOperationException);
    }

    [Test]
    public void ASinkCannotTakeBothAnUpdateAndItsMomentum()
    {
        using var sink = new MemorySink();
        First.SaveTo(sink);
        Assert.That(() => new FedIcuClient().CreateUpdate(First, Second, sink, momentumOutput: sink), Throws.InvalidOperationException);
        Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 1, 2, 3 }));
        // The sink can be used again.
        Second.SaveTo(sink);
        Assert.That(sink.Model.ToArray<float>("w"), Is.EqualTo(new float[] { 4, 5, 6 }));
    }

    [TestCase(-1, 1), TestCase(12, 1), TestCase(9, 4), TestCase(0, 13), TestCase(long.MaxValue, 2)]
    public void ReadsAndWritesOutsideATensorAreRejected(long offset, int length)
    {
        using var sink = new MemorySink();
        sink.Begin([Info], NoMetadata);
        Assert.That(() => sink.Write(Info, offset, new byte[length]), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => First.Read(Info, offset, new byte[length]), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public unsafe void UnknownTensorsAreRejected()
    {
        TensorInfo larger = Info with { Shape = new TensorShape(4) }, unknown = Info with { Name = "v" };
        using var sink = new MemorySink();
        sink.Begin([Info], NoMetadata);
        Assert.That(() => sink.TryGetPointer(larger) is not null, Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => sink.Write(unknown, 0, new byte[1]), Throws.ArgumentException);
        Assert.That(() => First.TryPin(larger, out _), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => First.Read(unknown, 0, new byte[1]), Throws.ArgumentException);
    }

    [Test]
    public unsafe void AnArrayOfMoreThanTwoGibibytesIsCopied()
    {
        const long Elements = (1L << 28) + 1;
        if (GC.GetGCMemoryInfo().TotalAvailableMemoryBytes < 8L << 30)
            Assert.Ignore("this needs some 5 GiB of memory");
        double* data = (double*)NativeMemory.AllocZeroed((nuint)Elements, sizeof(double));
        try
        {
            (data[0], data[Elements - 2], data[Elements - 1]) = (1, 2, 3);
            var model = new MemoryModel();
            model.Add(new TensorInfo("w", DType.F64, new TensorShape(Elements)), (nint)data);
            double[] copy = model.ToArray<double>("w");
            Assert.That((copy[0], copy[1], copy[^2], copy[^1]), Is.EqualTo((1.0, 0.0, 2.0, 3.0)));
        }
        finally
        {
            NativeMemory.Free(data);
        }
    }

    [Test]
    public void ACanceledCopyLeavesTheOldModel()
    {
        using var cancellation = new CancellationTokenSource();
        using var sink = new MemorySink();
        First.SaveTo(sink);
        var source = new Reading((3 << 20) + 1, () => cancellation.Cancel());
        Assert.That(() => source.SaveTo(sink, cancellation.Token), Throws.InstanceOf<OperationCanceledException>());
        Assert.That(source.Reads, Is.EqualTo(1));
        Assert.That(sink.Model.Tensors, Is.EqualTo(First.Tensors));
    }

    [Test]
    public void CopyingATensorIsCanceledBetweenItsPieces()
    {
        using var cancellation = new CancellationTokenSource();
        using var sink = new MemorySink();
        var source = new Reading((3 << 20) + 1, () => cancellation.Cancel());
        var round = new AggregationRound(source) { ClientUpdate.FromTensors("a", source, 1) };
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(round, sink, cancellation.Token),
            Throws.InstanceOf<OperationCanceledException>());
        Assert.That(source.Reads, Is.EqualTo(1));
    }

    [Test]
    public void CopiesRentTheirMemory()
    {
        var source = new Reading(1 << 20, () => { });
        source.SaveTo(TensorSink.Discard);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 8; i++)
            source.SaveTo(TensorSink.Discard);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(1 << 20));
    }

    private static void Collect()
    {
        for (int i = 0; i < 3; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }

    /// <summary>
    /// A source with a tensor of bools, which rounds copy from the global model, and a callback for each read.
    /// </summary>
    private sealed class Reading(long bytes, Action read) : TensorSource
    {
        public int Reads { get; private set; }

        public override IReadOnlyList<TensorInfo> Tensors { get; } = [new TensorInfo("kept", DType.Bool, new TensorShape(bytes))];

        public override string Location => "memory";

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
        {
            Reads++;
            destination.Clear();
            read();
        }
    }
}
