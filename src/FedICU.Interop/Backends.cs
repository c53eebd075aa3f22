using FedICU.Compute;

namespace FedICU.Interop;

/// <summary>Creates backends by the names that the options use.</summary>
internal static class Backends
{
    /// <summary>Creates a backend; null for the library's default, SIMD.</summary>
    public static IComputeBackend? Create(string? name)
    {
#if GPU
        return name is null or "simd" ? null : Gpu.ComputeBackends.Create(name, new Gpu.GpuOptions { Fallback = name == "auto" });
#else
        return name switch
        {
            null or "simd" or "auto" => null,
            "reference" => ReferenceBackend.Instance,
            _ => throw new InvalidOptionsException(
                [$"The backend '{name}' is unknown to this build; auto, simd, reference are known."]),
        };
#endif
    }
}
