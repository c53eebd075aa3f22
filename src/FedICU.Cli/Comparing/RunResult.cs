namespace FedICU.Cli.Comparing;

/// <summary>What a run has so far: <c>result.json</c> in its folder.</summary>
/// <param name="Version">The version of the file's form.</param>
/// <param name="Name">The run's name.</param>
/// <param name="Inputs">What the model depends on.</param>
/// <param name="Model">The model; null if it could not be made.</param>
/// <param name="Evaluation">The evaluation; null without one, or if it failed.</param>
/// <param name="Failure">Why the run failed; null if it did not.</param>
internal sealed record RunResult(
    int Version, string Name, RunInputs Inputs, RunModel? Model = null, RunEvaluation? Evaluation = null, string? Failure = null)
{
    public const int CurrentVersion = 1;
}
