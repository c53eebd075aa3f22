using FedICU.Compute;

namespace FedICU.Gpu;

/// <summary>Creates backends by name, or the best backend of this machine.</summary>
public static class ComputeBackends
{
    /// <summary>The environment variable that names the backend if the program does not.</summary>
    public const string Variable = "FEDICU_BACKEND";

    /// <summary>
    /// Gets the names of backends: <c>auto</c>, <c>cuda</c>, <c>opencl</c>, <c>simd</c>, <c>reference</c>.
    /// </summary>
    public static IReadOnlyList<string> Names { get; } = ["auto", "cuda", "opencl", "simd", "reference"];

    /// <summary>
    /// Creates the best backend of this machine: a CUDA device, else an OpenCL device, else the CPU. A device must pass
    /// its self-check against the reference. Warns of devices that were refused, but not of missing drivers.
    /// </summary>
    /// <param name="options">The device to use and how; null for the defaults.</param>
    /// <param name="workBytes">
    /// The bytes that the backend will read in all, if known. No device is started for less than
    /// <see cref="GpuOptions.LeastWorkBytes"/>.
    /// </param>
    /// <returns>The backend. The caller disposes it if it is <see cref="IDisposable"/>.</returns>
    public static IClientBackend Best(GpuOptions? options = null, long workBytes = long.MaxValue)
    {
        options ??= new GpuOptions();
        if (workBytes < options.LeastWorkBytes)
            return new SimdBackend();
        foreach (GpuKind kind in Enum.GetValues<GpuKind>())
        {
            if (GpuDevices.TryCreate(kind, options, gpusOnly: true, out string? reason, out bool refused) is { } backend)
                return new GuardedBackend(backend, backend.Description, options);
            if (refused)
                WarnOfFallback(options, reason!);
        }

        return new SimdBackend();
    }

    /// <summary>Creates the backend with a name.</summary>
    /// <param name="name">
    /// One of <see cref="Names"/>; null for the value of <see cref="Variable"/>, or <c>auto</c> if that is not set.
    /// </param>
    /// <param name="options">The device to use and how; null for the defaults.</param>
    /// <param name="workBytes">
    /// The bytes that the backend will read in all, if known. Only <c>auto</c> uses this.
    /// </param>
    /// <returns>The backend. The caller disposes it if it is <see cref="IDisposable"/>.</returns>
    /// <exception cref="InvalidOptionsException">The name is unknown.</exception>
    /// <exception cref="GpuException">
    /// The device was not found or was refused, and <see cref="GpuOptions.Fallback"/> is false.
    /// </exception>
    public static IClientBackend Create(string? name, GpuOptions? options = null, long workBytes = long.MaxValue)
    {
        options ??= new GpuOptions();
        string? variable = name is null ? Environment.GetEnvironmentVariable(Variable) : null;
        bool fromVariable = variable is { Length: > 0 };
        name ??= fromVariable ? variable : "auto";
        string subject = fromVariable ? $"{Variable} names the backend '{name}', which" : $"The backend '{name}'";
        return name switch
        {
            "auto" => Best(options, workBytes),
            "cuda" => CreateForDevice(GpuKind.Cuda, options),
            "opencl" => CreateForDevice(GpuKind.OpenCl, options),
            "simd" => new SimdBackend(),
            "reference" => ReferenceBackend.Instance,
            _ => throw new InvalidOptionsException([$"{subject} is unknown; {string.Join(", ", Names)} are known."]),
        };
    }

    private static IClientBackend CreateForDevice(GpuKind kind, GpuOptions options)
    {
        if (GpuDevices.TryCreate(kind, options, gpusOnly: false, out string? reason, out _) is { } backend)
            return new GuardedBackend(backend, backend.Description, options);
        if (!options.Fallback)
            throw new GpuException(reason!);
        WarnOfFallback(options, reason!);
        return new SimdBackend();
    }

    private static void WarnOfFallback(GpuOptions options, string reason) => options.Warning?.Invoke($"{reason} The CPU does the work.");
}
