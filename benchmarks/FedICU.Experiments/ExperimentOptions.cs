namespace FedICU.Experiments;

/// <summary>The options that all runs have in common.</summary>
internal sealed record ExperimentOptions(int Rounds, int Steps, int Rows, double LearningRate, int Pretraining, int TestWindows)
{
    /// <summary>
    /// The options in which compared figures must agree. It is part of the key of saved results, so it must not change.
    /// </summary>
    public string Name => $"base {Pretraining}, {Steps} steps of {Rows}, rate {LearningRate}, {TestWindows} test windows";
}
