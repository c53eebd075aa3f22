namespace FedICU;

/// <summary>A sum over the clients that a <see cref="ServerStep"/> reads beside the merged update.</summary>
/// <param name="Source">What is added up.</param>
/// <param name="Coefficients">The coefficient of each of <see cref="RoundPlan.Clients"/>.</param>
public sealed record ClientSum(ClientSumSource Source, IReadOnlyList<double> Coefficients);
