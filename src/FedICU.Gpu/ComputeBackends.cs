using FedICU.Compute;

namespace FedICU.Gpu;

/// <summary>Backends by name, and the best that this machine has.</summary>
public static class ComputeBackends
{
    /// <summary>The environment variable that names a backend where the program names none.</summary>
    public const string Variable = "FEDICU_BACKEND";

    /// <summary>The names: <c>auto</c>, <c>cuda</c>, <c>opencl</c>, <c>simd</c>, <c>reference</c>.</summary>
    public static IReadOnlyList<string> Names { get; } = ["auto", "cuda", "opencl", "simd", "reference"];

    /// <summary>
    /// A CUDA device, else an OpenCL one, else the processor: the first that is there and passes its self-check against the reference. Devices that were refused are
    /// warned of, drivers that are not there are not. The caller disposes of it, if it is <see cref="IDisposable"/>.
    /// </summary>
    /// <param name="options">Which device is used, and how.</param>
    /// <param name="workBytes">How many bytes it will be given in all, where that is known: no device is started for little.</param>
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
                options.Warning?.Invoke($"{reason} The processor does its work.");
        }

        return new SimdBackend();
    }

    /// <summary>The backend of that name.</summary>
    /// <param name="name">One of <see cref="Names"/>; null: what <see cref="Variable"/> says, otherwise <c>auto</c>.</param>
    /// <param name="options">Which device is used, and how.</param>
    /// <param name="workBytes">How many bytes it will be given in all, where that is known; of account to <c>auto</c>.</param>
    /// <exception cref="InvalidOptionsException">There is no such name.</exception>
    /// <exception cref="GpuException">A device was named that is not there or was refused, and the processor may not do its work.</exception>
    public static IClientBackend Create(string? name, GpuOptions? options = null, long workBytes = long.MaxValue)
    {
        options ??= new GpuOptions();
        bool fromVariable = name is null && Environment.GetEnvironmentVariable(Variable) is { Length: > 0 };
        name ??= fromVariable ? Environment.GetEnvironmentVariable(Variable)! : "auto";
        return name switch
        {
            "auto" => Best(options, workBytes),
            "cuda" => Of(GpuKind.Cuda, options),
            "opencl" => Of(GpuKind.OpenCl, options),
            "simd" => new SimdBackend(),
            "reference" => ReferenceBackend.Instance,
            _ => throw new InvalidOptionsException(
                [$"{(fromVariable ? $"{Variable} names the backend" : "The backend")} '{name}'{(fromVariable ? ", which" : "")} is unknown; {string.Join(", ", Names)} are known."]),
        };
    }

    private static IClientBackend Of(GpuKind kind, GpuOptions options)
    {
        if (GpuDevices.TryCreate(kind, options, gpusOnly: false, out string? reason, out _) is { } backend)
            return new GuardedBackend(backend, backend.Description, options);
        if (!options.Fallback)
            throw new GpuException(reason!);
        options.Warning?.Invoke($"{reason} The processor does its work.");
        return new SimdBackend();
    }
}
