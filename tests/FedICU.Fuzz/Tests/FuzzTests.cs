namespace FedICU.Fuzz.Tests;

/// <summary>Every target for a moment, from a fixed seed; the gate in .ci/run tries each for longer.</summary>
[NonParallelizable]
internal sealed class FuzzTests
{
    // the cases themselves do not depend on it: only how many are tried
    private static readonly TimeSpan Time = TimeSpan.FromSeconds(1);

    private const ulong Seed = 20;

    // as many are tried however slow the machine is: the fewest with which both outcomes are seen
    private const int Fewest = 40;

    private static IEnumerable<string> Targets => FuzzTarget.All.Select(target => target.Name);

    [TestCaseSource(nameof(Targets))]
    public void NoCaseBreaksAPromise(string name)
    {
        FuzzTarget target = FuzzTarget.All.Single(known => known.Name == name);
        var fuzzer = new Fuzzer(target, Seed);
        FuzzResult first = fuzzer.Run(TimeSpan.MaxValue, Fewest), result = fuzzer.Run(Time);
        TestContext.Out.WriteLine($"{result.Cases} cases, {result.Accepted} accepted");
        Assert.That(first.Faults.Concat(result.Faults).Select(fault =>
            $"--target {name} --repro {fault.First.Input.Seed}:{fault.First.Input.Case}: {fault.First.Message}"), Is.Empty);
        Assert.That(first.Accepted, Is.InRange(1, Fewest - 1),
            "some inputs must pass whole and some must not, or nothing but the first check is tried");
    }

    [TestCaseSource(nameof(Targets))]
    public void ACaseIsAFunctionOfSeedAndNumber(string name)
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
