namespace FedICU.Cli.Json;

/// <summary>The result of <c>fedicu devices --json</c>.</summary>
internal sealed record DeviceListing(IReadOnlyList<ListedDevice> Devices, int Cpus);
