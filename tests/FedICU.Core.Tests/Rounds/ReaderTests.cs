using System.Buffers;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Tests;

/// <summary>A round closes all readers that it opens, and reads packed tensors correctly at every boundary.</summary>
internal sealed class ReaderTests
{
    [Test]
    public void AMeanThatDoesNotFitReleasesTheMemory()
    {
        using var client = new Pinned(new MemoryModel { { "w", [1], new byte[] { 255 } } });
        MemoryModel global = new() { { "w", [1], new byte[] { 255 } } };
        Assert.That(() => Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("x", client, 1, UpdateKind.Delta)]),
            Throws.TypeOf<RoundRejectedException>());
        Assert.That((client.Pins, client.Unpins), Is.EqualTo((1, 1)));
    }

    [Test]
    public void AReaderThatCannotBeOpenedClosesTheOthers([Values] bool integer)
    {
        MemoryModel model = integer ? new() { { "w", [1], new int[1] } } : new() { { "w", [1], new float[1] } };
        using var fine = new Pinned(model);
        using var broken = new Pinned(model) { Breaks = true };
        Assert.That(() => Models.Run(new FedAvgAggregator(), model,
            [ClientUpdate.FromTensors("a", fine, 1), ClientUpdate.FromTensors("b", broken, 1)]), Throws.TypeOf<InvalidModelException>());
        Assert.That((fine.Pins, fine.Unpins), Is.EqualTo((1, 1)));
    }

    [Test]
    public unsafe void PackedEntriesAreFoundFromEveryStart([Values(0, .002, .5, .998, 1)] double density)
    {
        const int Elements = 200_003;
        var random = new Random(3);
        byte[] bits = new byte[(Elements + 7) / 8];
        var sent = new List<float>();
        float[] global = new float[Elements], whole = new float[Elements];
        for (int i = 0; i < Elements; i++)
        {
            whole[i] = global[i] = -i;
            if (random.NextDouble() >= density)
                continue;
            bits[i / 8] |= (byte)(1 << i % 8);
            sent.Add(whole[i] = i + 1);
        }

        MemoryModel model = new() { { "v", [sent.Count], sent.ToArray() }, { "m", [bits.Length], bits }, { "g", [Elements], global } };
        using var reader = new SparsePanelReader(Open("g"), Open("v"), Open("m"), new SparseMask(model, model.Find("m")!));
        using var scratch = new Scratch();
        foreach (int start in (int[])[0, 1, 7, 8, 63, 64, 65_535, 65_536, 65_537, 131_071, 131_072, 199_940])
        {
            foreach (int count in (int[])[1, 7, 8, 63, 64, 65, 200, 70_000])
            {
                if (start + count > Elements)
                    continue;
                scratch.Reset();
                Assert.That(new ReadOnlySpan<float>(reader.Read(start, count, scratch).Data, count)
                    .SequenceEqual(whole.AsSpan(start, count)), $"{start} + {count}");
            }
        }

        DensePanelReader Open(string name) => new(model, model.Find(name)!);
    }

    /// <summary>A source that counts how often its memory is pinned and unpinned.</summary>
    private sealed class Pinned(MemoryModel model) : TensorSource, IPinnable
    {
        public int Pins { get; private set; }

        public int Unpins { get; private set; }

        public bool Breaks { get; init; }

        public override IReadOnlyList<TensorInfo> Tensors => model.Tensors;

        public override string Location => "memory";

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination) => model.Read(tensor, offset, destination);

        public override unsafe bool TryPin(TensorInfo tensor, out MemoryHandle memory)
        {
            if (Breaks)
                throw new InvalidModelException("broken");
            Pins++;
            model.TryPin(tensor, out MemoryHandle inner);
            memory = new MemoryHandle(inner.Pointer, default, this);
            return true;
        }

        public MemoryHandle Pin(int elementIndex) => throw new NotSupportedException();

        public void Unpin() => Unpins++;
    }
}
