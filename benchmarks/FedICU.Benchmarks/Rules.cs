using BenchmarkDotNet.Attributes;

namespace FedICU.Benchmarks;

/// <summary>
/// Measures rounds of the other rules. A rule's state stays in memory from round to round and is part of the time.
/// </summary>
public class Rules : Rounds
{
    private readonly string _root = Path.GetTempFileName();
    private readonly Dictionary<string, RoundState> _states = [];

    [GlobalSetup(Target = nameof(FlTrust))]
    public void WriteRoot() => Workload.Client(0).SaveTo(TensorSink.ToFile(_root));

    public override void Cleanup()
    {
        foreach (RoundState state in _states.Values)
            state.Dispose();
        File.Delete(_root);
        base.Cleanup();
    }

    [Benchmark(Description = Names.Median)]
    public void Median() => Run(Names.Median);

    [Benchmark(Description = Names.TrimmedMean)]
    public void TrimmedMean() => Run(Names.TrimmedMean);

    [Benchmark(Description = Names.Krum)]
    public void Krum() => Run(Names.Krum);

    [Benchmark(Description = "multi-krum")]
    public void MultiKrum() => Run("multi-krum");

    [Benchmark(Description = "bulyan")]
    public void Bulyan() => Run("bulyan");

    [Benchmark(Description = "geometric-median")]
    public void GeometricMedian() => Run("geometric-median");

    [Benchmark(Description = "centered-clip")]
    public void CenteredClip() => RunWithState("centered-clip");

    [Benchmark(Description = "fltrust")]
    public void FlTrust() => Run("fltrust", ("root", _root));

    [Benchmark(Description = "norm-clip")]
    public void NormClip() => Run("norm-clip");

    [Benchmark(Description = "qfedavg")]
    public void QFedAvg() => Run("qfedavg");

    [Benchmark(Description = "dp-fedavg without noise")]
    public void ClippedOnly() => RunWithState("dp-fedavg", ("clip-norm", "1"), ("noise-multiplier", "0"));

    [Benchmark(Description = "dp-fedavg")]
    public void DpFedAvg() => RunWithState("dp-fedavg", ("clip-norm", "1"), ("noise-multiplier", "1"));

    [Benchmark(Description = Names.FedAdam)]
    public void FedAdam() => RunWithState("fedadam");

    [Benchmark(Description = "fedyogi over FedAvg")]
    public void FedYogi() => RunWithState("fedyogi");

    [Benchmark(Description = "fedadagrad over FedAvg")]
    public void FedAdagrad() => RunWithState("fedadagrad");

    [Benchmark(Description = "fedavgm over FedAvg")]
    public void FedAvgM() => RunWithState("fedavgm");

    [Benchmark(Description = "feddyn over FedAvg")]
    public void FedDyn() => RunWithState("feddyn");

    [Benchmark(Description = Names.Ties)]
    public void Ties() => Run("ties");

    [Benchmark(Description = Names.Dare)]
    public void Dare() => Run("dare", ("seed", "1"));

    private void Run(string rule, params (string Name, string Value)[] options) => Run(rule, null, options);

    private void RunWithState(string rule, params (string Name, string Value)[] options)
    {
        string key = rule + options.Length + options.LastOrDefault().Value;
        if (!_states.TryGetValue(key, out RoundState? state))
            _states[key] = state = RoundState.InMemory();
        Run(rule, state, options);
    }

    private void Run(string rule, RoundState? state, (string Name, string Value)[] options) => Run(
        StrategyRegistry.Default.Create(rule, options.Select(option => KeyValuePair.Create(option.Name, option.Value))).Aggregator,
        state: state);
}
