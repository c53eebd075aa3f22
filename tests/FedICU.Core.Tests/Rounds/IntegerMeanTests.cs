using FedICU.Compute;

namespace FedICU.Tests;

/// <summary>Integer tensors: exact means, rounded half to even.</summary>
internal sealed class IntegerMeanTests
{
    [Test]
    public void IntegersAreAveragedExactlyAndOtherTypesAreKept()
    {
        long large = long.MaxValue - 1;
        static MemoryModel Of(long[] whole, sbyte[] small, bool flag) =>
            new() { { "i", [3], whole }, { "s", [2], small }, { "f", [1], new[] { flag } } };
        MemoryModel global = Of([0, 0, 0], [0, 0], true);
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", Of([1, large, -3], [-128, 127], false), 1),
            ClientUpdate.FromTensors("y", Of([2, large + 1, -4], [-127, 126], false), 1),
        ];
        (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), global, clients);
        Assert.That(report.Tensors[0].Clients.Select(client => (client.Id, client.Weight)),
            Is.EqualTo(new (string, double?)[] { ("x", .5), ("y", .5) }));
        using (sink)
        {
            // rounded half to even: 1.5 -> 2, max - 1/2 -> max - 1 which is even, -3.5 -> -4, -127.5 -> -128, 126.5 ->
            // 126
            Assert.That(sink.Model.ToArray<long>("i"), Is.EqualTo(new[] { 2, large, -4 }));
            Assert.That(sink.Model.ToArray<sbyte>("s"), Is.EqualTo(new sbyte[] { -128, 126 }));
            Assert.That(sink.Model.ToArray<bool>("f"), Is.EqualTo(new[] { true }));
        }

        (_, MemorySink kept) = Models.Run(new FedAvgAggregator(), global, clients, new RoundOptions { Integers = IntegerRule.Keep });
        using (kept)
            Assert.That(Models.AllBytes(kept.Model), Is.EqualTo(Models.AllBytes(global)));
    }

    [TestCase(0.1, 0.2), TestCase(1e-300, 1e300), TestCase(1 / 3.0, 7)]
    public void IntegerMeansAreExactForAnyWeights(double first, double second)
    {
        var mean = new IntegerMean([first, second]);
        foreach ((long x, long y) in new[] { (1L, 2L), (-5, 9), (long.MaxValue, long.MinValue), (7, 7) })
        {
            System.Numerics.BigInteger a = Exact(first), b = Exact(second), numerator = a * x + b * y, total = a + b;
            // rounds half to even independently of the library
            System.Numerics.BigInteger twice = 2 * numerator + total,
                down = System.Numerics.BigInteger.DivRem(twice, 2 * total, out System.Numerics.BigInteger rest);
            if (rest < 0)
                (down, rest) = (down - 1, rest + 2 * total);
            if (rest.IsZero && !down.IsEven)
                down--;
            Assert.That(mean.Of([x, y]), Is.EqualTo((Int128)down));
        }

        // value * 2^1126, which is an integer: no double has a bit below 2^-1074, and 52 more bits make room for
        // subnormals
        static System.Numerics.BigInteger Exact(double value) =>
            (System.Numerics.BigInteger)Math.ScaleB(value, 52 - Math.ILogB(value)) << Math.ILogB(value) - 52 + 1126;
    }
}
