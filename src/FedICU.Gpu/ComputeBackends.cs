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
        if (CreateForCpu("auto", options, workBytes) is { } cpu)
            return cpu;
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
        if (CreateForCpu(name, options, workBytes) is { } backend)
            return backend;
        return Resolve(name) switch
        {
            "cuda" => CreateForDevice(GpuKind.Cuda, options),
            "opencl" => CreateForDevice(GpuKind.OpenCl, options),
            _ => Best(options, workBytes),
        };
    }

    /// <summary>
    /// Creates the backend with a name if it is one of the CPU. It runs no code of ILGPU, which needs code that is made
    /// at run time, so programs that are compiled ahead of time may call it.
    /// </summary>
    /// <param name="name">As for <see cref="Create"/>.</param>
    /// <param name="options">As for <see cref="Create"/>; read here: <see cref="GpuOptions.LeastWorkBytes"/>.</param>
    /// <param name="workBytes">As for <see cref="Create"/>.</param>
    /// <returns>The backend; null if <see cref="Create"/> would search for a device.</returns>
    /// <exception cref="InvalidOptionsException">The name is unknown.</exception>
    public static IClientBackend? CreateForCpu(string? name, GpuOptions? options = null, long workBytes = long.MaxValue)
    {
        string resolved = Resolve(name);
        switch (resolved)
        {
            case "auto": return workBytes < (options ?? new GpuOptions()).LeastWorkBytes ? new SimdBackend() : null;
            case "simd": return new SimdBackend();
            case "reference": return ReferenceBackend.Instance;
            case "cuda" or "opencl": return null;
        }

        string subject = name is null ? $"{Variable} names the backend '{resolved}', which" : $"The backend '{resolved}'";
        throw new InvalidOptionsException([$"{subject} is unknown; {string.Join(", ", Names)} are known."]);
    }

    private static string Resolve(string? name) =>
        name ?? (Environment.GetEnvironmentVariable(Variable) is { Length: > 0 } variable ? variable : "auto");

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
