namespace FedICU.Fuzz.Tests;

/// <summary>Runs every target for a second from a fixed seed. The gate in .ci/run runs each for longer.</summary>
[NonParallelizable]
internal sealed class FuzzTests
{
    // the time for each target; chosen: it limits the number of cases and does not change the cases
    private static readonly TimeSpan Time = TimeSpan.FromSeconds(1);

    // chosen
    private const ulong Seed = 20;

    // cases that run even on a slow machine; chosen: enough to see both outcomes for every target
    private const int Fewest = 40;

    private static IEnumerable<string> Targets => FuzzTarget.All.Select(target => target.Name);

    [TestCaseSource(nameof(Targets))]
    public void NoCaseBreaksARule(string name)
    {
        FuzzTarget target = FuzzTarget.All.Single(known => known.Name == name);
        var fuzzer = new Fuzzer(target, Seed);
        FuzzResult first = fuzzer.Run(TimeSpan.MaxValue, Fewest), result = fuzzer.Run(Time);
        TestContext.Out.WriteLine($"{result.Cases} cases, {result.Accepted} accepted");
        Assert.That(first.Faults.Concat(result.Faults).Select(fault =>
            $"--target {name} --repro {fault.First.Input.Seed}:{fault.First.Input.Case}: {fault.First.Message}"), Is.Empty);
        Assert.That(first.Accepted, Is.InRange(1, Fewest - 1),
            "some inputs must be accepted and some refused, otherwise only the first check runs");
    }

    [TestCaseSource(nameof(Targets))]
    public void ACaseDependsOnlyOnSeedAndNumber(string name)
    {
        FuzzTarget target = FuzzTarget.All.Single(known => known.Name == name);
        string[] once = [.. Enumerable.Range(0, 30).Select(number => Text(target.Make(Seed, number)))];
        string[] again = [.. Enumerable.Range(0, 30).Reverse().Select(number => Text(target.Make(Seed, number))).Reverse()];
        Assert.That(again, Is.EqualTo(once));
        Assert.That(once.Distinct().Count(), Is.GreaterThan(10), "numbers give different cases");
        Assert.That(Enumerable.Range(0, 30).Select(number => Text(target.Make(Seed + 1, number))), Is.Not.EqualTo(once),
            "seeds give different cases");
    }

    private static string Text(FuzzInput input) => string.Join('\n', input.Parts.Select(part =>
        part.Name + " " + Convert.ToHexString(part.Bytes)));
}
