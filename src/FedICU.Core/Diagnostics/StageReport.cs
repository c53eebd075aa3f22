namespace FedICU;

/// <summary>Numbers of the clients that a stage computed, such as Krum's scores.</summary>
/// <param name="Stage">The stage's name.</param>
/// <param name="Name">What the numbers are.</param>
/// <param name="Clients">The ids of the clients that the stage saw.</param>
/// <param name="Values">A number for each of them.</param>
public sealed record StageReport(string Stage, string Name, IReadOnlyList<string> Clients, IReadOnlyList<double> Values);
