namespace FedICU.Gpu;

/// <summary>A device that a driver reports.</summary>
/// <param name="Kind">The programming interface of the device.</param>
/// <param name="Number">The device's number among those of its kind, from 0.</param>
/// <param name="Name">The device's name, as the driver reports it.</param>
/// <param name="MemoryBytes">The size of the device's memory.</param>
/// <param name="Driver">The driver's version, as the driver reports it.</param>
/// <param name="Refusal">The reason why the device is not used; null if it passed its self-check.</param>
public sealed record GpuDevice(GpuKind Kind, int Number, string Name, long MemoryBytes, string Driver, string? Refusal);
