namespace FedICU.Experiments;

/// <summary>A method that ended before its last round.</summary>
/// <param name="Scenario">The scenario.</param>
/// <param name="Method">The method.</param>
/// <param name="Seed">The seed.</param>
/// <param name="Round">The round that failed.</param>
/// <param name="Reason">Why, as a sentence.</param>
/// <param name="Diverged">
/// Whether the factors are not finite any more. Only then the results say so, and the method is not tried again.
/// </param>
internal sealed record RunFailure(Scenario Scenario, Method Method, int Seed, int Round, string Reason, bool Diverged)
{
    public override string ToString() =>
        $"{Scenario.Name}, {Method.Name}, seed {Seed}: {(Diverged ? "diverged" : "failed")} in round {Round}: {Reason}";
}
