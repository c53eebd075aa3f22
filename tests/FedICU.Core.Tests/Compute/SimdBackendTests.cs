using System.Globalization;
using FedICU.Compute;
using FedICU.Panels;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

[Parallelizable(ParallelScope.Self)]
public sealed class SimdBackendTests
{
    private static readonly string Verbs = string.Join('\n', ComputeHash.Lines(new SimdBackend()));
    private static readonly Lazy<string> Rounds = new(() => string.Join('\n', RoundHash.Lines(new SimdBackend())));

    [Test]
    public void AllWidthsGiveTheSameBits([Values(128, 256, 512)] int width) =>
        Assert.That(string.Join('\n', ComputeHash.Lines(new SimdBackend(width))), Is.EqualTo(Verbs));

    [Test]
    public void AllWidthsGiveTheSameBitsInRounds([Values(128, 256, 512)] int width) =>
        Assert.That(string.Join('\n', RoundHash.Lines(new SimdBackend(width))), Is.EqualTo(Rounds.Value));

    [Test]
    public void TheLargeRoundsUseTheGramPass() =>
        Assert.That(RoundHash.LargeValues, Is.GreaterThanOrEqualTo(TensorPasses.GramValues));

    [Test]
    public void TheHashesDifferWhereTheBitsDo()
    {
        // the reference sums more precisely, so exactly the bits of sums over elements differ
        string[] reference = [.. ComputeHash.Lines(ReferenceBackend.Instance)], simd = Verbs.Split('\n');
        string[] differing = [.. reference.Except(simd).Select(line => line.Split(' ')[0])];
        string[] sums =
        [
            "AddSquares", "AddGram", "AddProjections", "Combine", "AddPairDistances", "AddDistances", "AddMoments", "AddProximal",
        ];
        Assert.That(differing, Is.EqualTo(sums));
    }

    [Test]
    public unsafe void PairDistancesHaveTheShapeOfTheContract([Values(128, 256, 512)] int width, [Values(1, 255, 256, 1001)] int length)
    {
        double[] x = SamplePanels.Doubles(length, new Random(1), Spread.Tame), y = SamplePanels.Doubles(length, new Random(2), Spread.Tame);
        double[] actual = [0.3], lanes = new double[8];
        double expected = 0.3;
        for (int start = 0; start < length; start += PanelGeometry.DistanceBlock)
        {
            Array.Clear(lanes);
            for (int i = start; i < Math.Min(start + PanelGeometry.DistanceBlock, length); i++)
                lanes[i % 8] = Math.FusedMultiplyAdd(x[i] - y[i], x[i] - y[i], lanes[i % 8]);
            expected += lanes[0] + lanes[4] + (lanes[2] + lanes[6]) + (lanes[1] + lanes[5] + (lanes[3] + lanes[7]));
        }

        fixed (double* first = x, second = y)
            new SimdBackend(width).AddPairDistances([new(first, DType.F64), new(second, DType.F64)], length, actual);
        Assert.That(actual[0], Is.EqualTo(expected));
    }

    [Explicit("takes a minute; .ci/run adds it"), Category("Exhaustive")]
    [TestCase("EnableAVX512", 256)]
    [TestCase("EnableAVX2", 128)]
    [TestCase("EnableHWIntrinsic", 0)]
    public void AProcessWithFewerInstructionsGivesTheSameBits(string switchedOff, int registers)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
            Assert.Ignore("This test needs env, which Linux and macOS have.");
        string program = Path.Combine(AppContext.BaseDirectory, "FedICU.TestChild.dll");
        string[] arguments = [$"DOTNET_{switchedOff}=0", "dotnet", program, "compute-hash"];
        Assert.That(Tools.TryRun("/usr/bin/env", arguments, out string output), Is.Zero, output);
        string[] lines = output.Trim().ReplaceLineEndings("\n").Split('\n');
        Assert.That(string.Join('\n', lines[..^1]), Is.EqualTo(Verbs + '\n' + Rounds.Value));
        int width = int.Parse(lines[^1], CultureInfo.InvariantCulture);
        Assert.That(width, Is.LessThanOrEqualTo(registers), "the switch works");
    }
}
