namespace FedICU;

/// <summary>
/// A tensor of the server's state for each float tensor of the model, such as a momentum: of the same shape, stored in
/// F32 (F64 for F64 tensors) as <c>tensor#name</c>.
/// </summary>
/// <param name="Name">The name: <c>m</c>, <c>v</c>.</param>
/// <param name="Initial">The value of all elements before the first round.</param>
public sealed record StateSlot(string Name, double Initial = 0);
