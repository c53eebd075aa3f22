namespace FedICU.Cli.Comparing;

/// <summary>What the evaluation of a run's model printed.</summary>
/// <param name="Command">The command line as typed.</param>
/// <param name="Files">The stamps of its program and its script.</param>
/// <param name="Seconds">How long it ran.</param>
/// <param name="Metrics">The numbers in the order printed.</param>
internal sealed record RunEvaluation(string Command, string Files, double Seconds, Dictionary<string, double> Metrics);
