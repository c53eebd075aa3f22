using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>The server's adaptive steps on every register width, beside the reference.</summary>
public sealed unsafe class AdaptiveStepTests
{
    private static readonly int[] Lengths = [.. Enumerable.Range(1, 33), 2047, 2048];

    [Test]
    public void EveryWidthHasTheBitsOfTheReference(
        [Values(128, 256, 512)] int width, [Values(DType.F64, DType.F32, DType.F16, DType.BF16)] DType dtype, [Values] bool hasGlobal)
    {
        using var memory = new GuardedPanels();
        DType output = hasGlobal ? dtype : DType.F64, state = output == DType.F64 ? DType.F64 : DType.F32;
        var random = new Random(width);
        foreach (int length in Lengths)
        {
            foreach (SecondMomentRule rule in Enum.GetValues<SecondMomentRule>())
            {
                var step = new AdaptiveStep(random.NextDouble(), random.NextDouble(), rule, 0.1, 1 + random.NextDouble(), 1e-3);
                memory.Begin();
                AdaptivePanels expected = Panels(), actual = Panels();
                foreach ((TensorPanel from, TensorPanel to) in Pairs(expected, actual))
                    Fill(from, to);
                long count = ReferenceBackend.Apply(step, expected, length);
                Assert.That(new SimdBackend(width).Apply(step, actual, length), Is.EqualTo(count), $"{rule}, {length}");
                foreach ((TensorPanel from, TensorPanel to) in Pairs(expected, actual))
                    Assert.That(BytesOf(to).SequenceEqual(BytesOf(from)), $"{rule}, {length}");
                Assert.That(memory.AreIntact());
            }

            AdaptivePanels Panels()
            {
                TensorPanel New(DType type) => memory.Panel(type, length, atEnd: length % 2 == 0);
                TensorPanel merged = New(DType.F64), m = New(state), v = New(state);
                return hasGlobal
                    ? new(merged, New(dtype), m, v, New(output), New(state), New(state))
                    : new(merged, default, m, v, merged, m, v);
            }

            void Fill(TensorPanel one, TensorPanel other)
            {
                for (int i = 0; i < length; i++)
                {
                    // now and then a value that some sum cannot hold
                    double value = random.Next(40) == 0 ? double.PositiveInfinity : random.NextDouble();
                    Rounding.Write(one.Data, one.DType, i, random.Next(10) == 0 ? 0 : value);
                    Rounding.Write(other.Data, other.DType, i, Rounding.Read(one.Data, one.DType, i));
                }
            }

            Span<byte> BytesOf(TensorPanel panel) => new(panel.Data, length * panel.DType.BitSize / 8);
        }
    }

    private static IEnumerable<(TensorPanel, TensorPanel)> Pairs(AdaptivePanels one, AdaptivePanels other)
    {
        TensorPanel[] first = All(one), second = All(other);
        return first.Zip(second).Where(pair => HasData(pair.First));

        static TensorPanel[] All(AdaptivePanels panels) =>
            [panels.Merged, panels.Global, panels.M, panels.V, panels.Output, panels.NextM, panels.NextV];

        static bool HasData(TensorPanel panel) => panel.Data is not null;
    }

    [Test]
    public void AStepBesideAnotherGivesTheSameBits([Values(DType.F32, DType.BF16, DType.F64)] DType dtype)
    {
        MemoryModel global = Model(0), first = Model(1), second = Model(2);
        using MemorySink alone = new(), beside = new();
        using RoundState one = RoundState.InMemory(), other = RoundState.InMemory();
        for (int round = 0; round < 3; round++)
        {
            Run(new FedAdamAggregator(), alone, one);
            Run(new AggregatorBuilder().Then(new FedAdam()).Then(new Nothing()).Build(), beside, other);
            Assert.That(Models.Bytes(beside.Model, "w"), Is.EqualTo(Models.Bytes(alone.Model, "w")));
        }

        void Run(IAggregator aggregator, MemorySink output, RoundState state)
        {
            var round = new AggregationRound(global) { State = state };
            round.Add(ClientUpdate.FromTensors("a", first, 1));
            round.Add(ClientUpdate.FromTensors("b", second, 2));
            aggregator.AggregateAsync(round, output).GetAwaiter().GetResult();
        }

        MemoryModel Model(int seed)
        {
            var random = new Random(seed);
            (TensorInfo info, byte[] bytes) = Models.Tensor("w", dtype, [5_003], _ => random.NextDouble());
            var model = new MemoryModel();
            model.Add(info, bytes);
            return model;
        }
    }

    private sealed class Nothing : ServerStep
    {
        public override string Name => "nothing";

        public override void Apply(ElementBlock block) { }
    }
}
