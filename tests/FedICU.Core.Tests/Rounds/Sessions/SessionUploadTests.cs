using System.Diagnostics;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>Updates that a session receives as streams of unknown length.</summary>
internal sealed class SessionUploadTests : SessionFixture
{
    // the longest time that a test waits for an upload to end
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(20);

    private byte[] CreateFile(TensorSource model)
    {
        model.SaveTo(TensorSink.ToFile(Folder["upload.safetensors"]));
        return File.ReadAllBytes(Folder["upload.safetensors"]);
    }

    private byte[] CreateFile(int seed = 2, IReadOnlyDictionary<string, string>? metadata = null) =>
        CreateFile(Models.Random(seed, metadata: metadata));

    private static RoundRejectedException Refuses(AggregationSession session, string id, Stream upload, RoundFault fault, long? most = null)
    {
        RoundRejectedException refused =
            Assert.ThrowsAsync<RoundRejectedException>(() => session.AddAsync(id, upload, maxBytes: most))!;
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((fault, id)), refused.Message);
        return refused;
    }

    [Test]
    public async Task AStreamGivesTheBitsOfTheBatchAlsoAfterARestart()
    {
        var stated = new ClientStatements { LocalSteps = 7, Loss = 0.5 };
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            UpdateReceipt receipt = await session.AddAsync("a", new SlowStream(CreateFile(2)), 3, statements: stated);
            Assert.That((receipt.Update.Id, receipt.Update.Weight, receipt.IsRepeated), Is.EqualTo(("a", 3.0, false)));
            await session.AddAsync("b", new MemoryStream(CreateFile(3, new Dictionary<string, string> { ["num_examples"] = "5" })));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(again.Updates.Select(update => update.Weight), Is.EqualTo(new[] { 3.0, 5 }));
        Assert.That(again.Updates[0].Statements, Is.EqualTo(stated));
        Assert.That(Bits(new FedAvgAggregator(), again.ToRound()), Is.EqualTo(Batch(new FedAvgAggregator(),
            [ClientUpdate.FromTensors("a", Models.Random(2), 3), ClientUpdate.FromTensors("b", Models.Random(3), 5)])));
    }

    [Test]
    public async Task TheSameBytesAgainAreAnsweredWithTheStoredCopy()
    {
        byte[] bytes = CreateFile();
        using (AggregationSession session = AggregationSession.Create(Place, Global))
            await session.AddAsync("a", new MemoryStream(bytes), 3);
        using AggregationSession again = AggregationSession.Open(Place, Global);
        byte[] stored = File.ReadAllBytes(again.Updates[0].Path!);
        UpdateReceipt receipt = await again.AddAsync("a", new MemoryStream(bytes), 3);
        Assert.That(receipt.IsRepeated);
        Assert.That(receipt.Update, Is.SameAs(again.Updates.Single()));
        Assert.That(stored, Is.EqualTo(bytes), "the copy has the bytes as they came");
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));

        Refuses(again, "a", new MemoryStream(CreateFile(3)), RoundFault.Duplicate);
        Assert.That(Assert.ThrowsAsync<RoundRejectedException>(() => again.AddAsync("a", new MemoryStream(bytes), 4))!.Fault,
            Is.EqualTo(RoundFault.Duplicate), "another weight is another update");
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    /// <summary>The same upload at once from many connections is added once.</summary>
    [Test]
    public async Task ConcurrentRepetitionsAreAddedOnce()
    {
        byte[] bytes = CreateFile();
        using AggregationSession session = AggregationSession.Create(Place, Global);
        UpdateReceipt[] receipts = await Task.WhenAll(
            Enumerable.Range(0, 8).Select(_ => session.AddAsync("a", new SlowStream(bytes))));
        Assert.That(receipts.Count(receipt => !receipt.IsRepeated), Is.EqualTo(1));
        Assert.That(receipts.Select(receipt => receipt.Update).Distinct().Count(), Is.EqualTo(1));
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    /// <summary>A client that sends many uploads at once takes the room of one.</summary>
    [Test]
    public async Task AClientHasOneUploadAtATime()
    {
        byte[] bytes = CreateFile();
        using AggregationSession session = AggregationSession.Create(Place, Global);
        using var stop = new CancellationTokenSource();
        Task<UpdateReceipt> first = session.AddAsync("a", new EndlessStream { Wait = true }, cancellationToken: stop.Token);
        using var impatient = new CancellationTokenSource();
        Task<UpdateReceipt>[] others =
            [.. Enumerable.Range(0, 5).Select(_ => session.AddAsync("a", new MemoryStream(bytes), cancellationToken: impatient.Token))];
        Task<UpdateReceipt> last = session.AddAsync("a", new MemoryStream(bytes));
        Assert.That((await session.AddAsync("b", new MemoryStream(bytes))).IsRepeated, Is.False, "other clients do not wait");
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(3), "the journal, b's update, one upload");
        await impatient.CancelAsync();
        foreach (Task<UpdateReceipt> other in others)
            Assert.That(() => other, Throws.InstanceOf<OperationCanceledException>());
        await stop.CancelAsync();
        Assert.That(() => first, Throws.InstanceOf<OperationCanceledException>());
        Assert.That((await last).IsRepeated, Is.False);
    }

    /// <summary>A seal ends the uploads that are now too late; one of a stored update is answered.</summary>
    [Test]
    public async Task ASealEndsOpenUploads()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        byte[] bytes = CreateFile();
        await session.AddAsync("stored", new MemoryStream(bytes));
        using var gate = new SemaphoreSlim(0);
        Task<UpdateReceipt> again = session.AddAsync("stored", new GatedStream(bytes, gate));
        Task<UpdateReceipt> open = session.AddAsync("a", new EndlessStream { Wait = true });
        Task<UpdateReceipt> waiting = session.AddAsync("a", new MemoryStream(bytes));
        session.Seal();
        foreach (Task<UpdateReceipt> late in (Task<UpdateReceipt>[])[open, waiting])
        {
            Assert.That(
                () => late.WaitAsync(Patience), Throws.TypeOf<RoundRejectedException>().With.Property("Fault").EqualTo(RoundFault.Late));
        }

        gate.Release();
        Assert.That((await again).IsRepeated);
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    [Test]
    public async Task TheEndOfASessionEndsOpenUploads([Values] bool isDeleted)
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        Task<UpdateReceipt> open = session.AddAsync("a", new EndlessStream { Wait = true });
        Task<UpdateReceipt> waiting = session.AddAsync("a", new MemoryStream(CreateFile()));
        if (isDeleted)
            session.Delete();
        else
            session.Dispose();
        foreach (Task<UpdateReceipt> ended in (Task<UpdateReceipt>[])[open, waiting])
            Assert.That(() => ended.WaitAsync(Patience), Throws.TypeOf<ObjectDisposedException>());
        // the folder may be used again at once
        using AggregationSession next = AggregationSession.OpenOrCreate(Place, Global);
        await next.AddAsync("a", new MemoryStream(CreateFile()));
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    /// <summary>A copy that is about to create its file when the session is deleted.</summary>
    [Test]
    public async Task NoFileAppearsAfterASessionWasDeleted()
    {
        using AggregationSession session = AggregationSession.Create(Place, Global);
        File.WriteAllText(Path.Combine(Place, "notes.txt"), "the folder stays");
        using var isChecked = new SemaphoreSlim(0);
        using var go = new ManualResetEventSlim();
        Task? deleting = null;
        bool appeared = false;
        var source = new WatchedSource(
            () =>
            {
                isChecked.Release();
                go.Wait();
            },
            () => appeared |= deleting!.IsCompleted && Directory.GetFileSystemEntries(Place).Length > 1);
        Task<UpdateReceipt> copy = session.AddAsync(ClientUpdate.FromTensors("a", source, 1));
        await isChecked.WaitAsync();
        deleting = Task.Run(session.Delete);
        // a deletion that does not wait for the copy is over by then
        await Task.WhenAny(deleting, Task.Delay(500));
        go.Set();
        Assert.That(() => copy, Throws.TypeOf<ObjectDisposedException>());
        await deleting;
        Assert.That(appeared, Is.False);
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
    }

    [Test]
    public async Task TheLimitIsCheckedWhileTheStreamIsWritten()
    {
        byte[] bytes = CreateFile();
        using AggregationSession session = AggregationSession.Create(Place, Global);
        var endless = new EndlessStream();
        RoundRejectedException refused = Refuses(session, "a", endless, RoundFault.TooLarge, 100_000);
        Assert.That(refused.Message, Is.EqualTo("Client 'a': the upload has more than 100000 bytes, the most that is accepted."));
        Assert.That(endless.Taken, Is.LessThan(300_000));
        Refuses(session, "a", new MemoryStream(bytes), RoundFault.TooLarge, bytes.Length - 1);
        Assert.That(() => session.AddAsync("a", endless, maxBytes: 0), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
        await session.AddAsync("a", new MemoryStream(bytes), maxBytes: bytes.Length);
    }

    [Test]
    public async Task ABrokenStreamLeavesNothing()
    {
        byte[] bytes = CreateFile();
        using AggregationSession session = AggregationSession.Create(Place, Global);
        Assert.That(() => session.AddAsync("a", new BrokenStream(bytes[..5000])), Throws.TypeOf<EndOfStreamException>());
        using var stop = new CancellationTokenSource();
        Task<UpdateReceipt> stopped = session.AddAsync("a", new EndlessStream { Wait = true }, cancellationToken: stop.Token);
        await stop.CancelAsync();
        Assert.That(() => stopped, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
        Refuses(session, "a", new MemoryStream(bytes[..^1]), RoundFault.Unreadable);
        Refuses(session, "a", new MemoryStream([]), RoundFault.Unreadable);
        Refuses(session, "a", new MemoryStream("<html>"u8.ToArray()), RoundFault.Unreadable);
        Refuses(session, "a", new MemoryStream([.. bytes, 0]), RoundFault.Unreadable);
        Refuses(session, "a", new MemoryStream(CreateFile(Models.Of("x", [1], 1))), RoundFault.Missing);
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
        await session.AddAsync("a", new MemoryStream(bytes));
    }

    [Test]
    public void ValuesAreCheckedIfRequested()
    {
        MemoryModel global = Models.Of("w", [2], 0, 0);
        using AggregationSession session =
            AggregationSession.Create(Place, global, arrivals: new SessionOptions { CheckValues = true });
        Refuses(session, "a", new MemoryStream(CreateFile(Models.Of("w", [2], 1, float.NaN))), RoundFault.NonFinite);
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
    }

    /// <summary>A process that is killed during an upload leaves a part of it, which opening removes.</summary>
    [Test]
    [CancelAfter(60_000)]
    public void WhatAKilledProcessLeftIsRemovedAtTheNextOpening()
    {
        using Process child = CrashTests.Start("upload-forever", Place);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("begun"));
        child.Kill();
        child.WaitForExit();
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
        using AggregationSession session = AggregationSession.Open(Place, TestChild.Sessions.Global);
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
        Assert.That(session.Updates, Is.Empty);
    }

    /// <summary>An upload of 16 MB allocates far less than its size.</summary>
    [Test]
    public async Task MemoryDoesNotHoldTheUpload()
    {
        MemoryModel global = Models.Of("w", [4_000_000], new float[4_000_000]);
        byte[] bytes = CreateFile(global);
        using AggregationSession session = AggregationSession.Create(Place, global);
        long before = GC.GetTotalAllocatedBytes(precise: true);
        await session.AddAsync("a", new MemoryStream(bytes));
        Assert.That(GC.GetTotalAllocatedBytes(precise: true) - before, Is.LessThan(bytes.Length / 8));
    }

    /// <summary>A stream that waits before its first byte.</summary>
    private sealed class GatedStream(byte[] bytes, SemaphoreSlim gate) : MemoryStream(bytes)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Position == 0)
                await gate.WaitAsync(cancellationToken);
            return await base.ReadAsync(buffer, cancellationToken);
        }
    }

    /// <summary>A model that reports when its metadata are read first, before it is copied, and each read.</summary>
    private sealed class WatchedSource(Action metadata, Action read) : TensorSource
    {
        private readonly MemoryModel _model = Models.Random(2);
        private int _isAsked;

        public override IReadOnlyList<TensorInfo> Tensors => _model.Tensors;

        public override string Location => "memory";

        public override IReadOnlyDictionary<string, string> Metadata
        {
            get
            {
                if (Interlocked.Exchange(ref _isAsked, 1) == 0)
                    metadata();
                return _model.Metadata;
            }
        }

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
        {
            read();
            _model.Read(tensor, offset, destination);
        }
    }

    /// <summary>A stream that comes in small pieces.</summary>
    private sealed class SlowStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            await Task.Yield();
            return await base.ReadAsync(buffer[..Math.Min(buffer.Length, 999)], cancellationToken);
        }
    }

    /// <summary>A stream whose sender goes away after some bytes.</summary>
    private sealed class BrokenStream(byte[] bytes) : MemoryStream(bytes)
    {
        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            await base.ReadAsync(buffer, cancellationToken) is > 0 and var read ? read : throw new EndOfStreamException("gone");
    }

    private sealed class EndlessStream : MemoryStream
    {
        public bool Wait { get; init; }

        public long Taken { get; private set; }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (Wait && Taken > 0)
                await Task.Delay(Timeout.Infinite, cancellationToken);
            Taken += buffer.Length;
            return buffer.Length;
        }
    }
}
