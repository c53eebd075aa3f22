using FedICU.Compute;
using FedICU.TestChild;

namespace FedICU.Tests.Compute;

/// <summary>The contract at every width of registers, whether the processor has them or not.</summary>
[TestFixture(512)]
[TestFixture(256)]
[TestFixture(128)]
[Parallelizable(ParallelScope.Self)]
public sealed class SimdContractTests(int width) : BackendContractTests(() => new SimdBackend(width));

/// <summary>The reference against its known answers.</summary>
public sealed class ReferenceContractTests() : BackendContractTests(() => ReferenceBackend.Instance);

public sealed class SimdBackendTests
{
    private static readonly string Verbs = string.Join('\n', ComputeHash.Lines(new SimdBackend()));
    private static readonly Lazy<string> Rounds = new(() => string.Join('\n', RoundHash.Lines(new SimdBackend())));

    [Test]
    public void All_widths_give_the_same_bits([Values(128, 256, 512)] int width) =>
        Assert.That(string.Join('\n', ComputeHash.Lines(new SimdBackend(width))), Is.EqualTo(Verbs));

    [Test]
    public void All_widths_give_the_same_bits_of_whole_rounds([Values(128, 256, 512)] int width) =>
        Assert.That(string.Join('\n', RoundHash.Lines(new SimdBackend(width))), Is.EqualTo(Rounds.Value));

    [Test]
    public void The_large_rounds_are_split_by_all_inner_products() => Assert.That(RoundHash.LargeValues, Is.GreaterThanOrEqualTo(TensorContext.GramValues));

    [Test]
    public void The_hash_sees_a_difference()
    {
        // the reference sums more precisely, so its bits differ where there are sums, and only there
        string[] reference = [.. ComputeHash.Lines(ReferenceBackend.Instance)], simd = Verbs.Split('\n');
        string[] differing = [.. reference.Except(simd).Select(line => line.Split(' ')[0])];
        Assert.That(differing, Is.EqualTo(new[] { "AddSquares", "AddGram", "AddProjections", "Combine", "AddMoments", "AddProximal" }));
    }

    [TestCase("EnableAVX512", 256)]
    [TestCase("EnableAVX2", 128)]
    [TestCase("EnableHWIntrinsic", 0)]
    public void A_process_with_fewer_instructions_gives_the_same_bits(string switchedOff, int registers)
    {
        if (!OperatingSystem.IsLinux() && !OperatingSystem.IsMacOS())
            Assert.Ignore("needs env");
        string program = Path.Combine(AppContext.BaseDirectory, "FedICU.TestChild.dll");
        Assert.That(
            Tools.TryRun("/usr/bin/env", [$"DOTNET_{switchedOff}=0", "dotnet", program, "compute-hash"], out string output), Is.Zero, output);
        string[] lines = output.Trim().ReplaceLineEndings("\n").Split('\n');
        Assert.That(string.Join('\n', lines[..^1]), Is.EqualTo(Verbs + '\n' + Rounds.Value));
        Assert.That(int.Parse(lines[^1], System.Globalization.CultureInfo.InvariantCulture), Is.LessThanOrEqualTo(registers), "the switch works");
    }
}
