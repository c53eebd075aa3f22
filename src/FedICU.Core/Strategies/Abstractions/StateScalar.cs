namespace FedICU;

/// <summary>A number that a stage keeps between rounds, stored in F64 as <c>#name</c>.</summary>
/// <param name="Name">The name: <c>clip</c>.</param>
/// <param name="Initial">The value before the first round.</param>
public sealed record StateScalar(string Name, double Initial = 0);
