namespace FedICU.Cli.Json;

/// <summary>A device of <c>fedicu devices --json</c>.</summary>
/// <param name="Backend">The backend that computes on it: <c>cuda</c> or <c>opencl</c>.</param>
/// <param name="Number">Its number among the backend's devices.</param>
/// <param name="Name">The name that the driver reports.</param>
/// <param name="MemoryBytes">Its memory.</param>
/// <param name="Driver">The driver.</param>
/// <param name="Refusal">Why it is not used; null if it is.</param>
internal sealed record ListedDevice(string Backend, int Number, string Name, long MemoryBytes, string Driver, string? Refusal);
