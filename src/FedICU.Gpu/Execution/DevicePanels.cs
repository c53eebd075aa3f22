using FedICU.Compute;

namespace FedICU.Gpu.Execution;

/// <summary>Answers whether the panels of a verb are in the memory of the device or of the host.</summary>
internal static class DevicePanels
{
    /// <summary>
    /// Returns whether a verb's inputs are on the device. Requires that all are in one memory
    /// (<see cref="RequireOneMemory"/>).
    /// </summary>
    public static bool AreOnDevice(ReadOnlySpan<TensorPanel> inputs) => inputs.Length > 0 && inputs[0].OnDevice;

    /// <summary>Returns whether an input or the output of a verb is on the device.</summary>
    public static bool IsAnyOnDevice(ReadOnlySpan<TensorPanel> inputs, TensorPanel output)
    {
        bool onDevice = output.OnDevice;
        foreach (TensorPanel input in inputs)
            onDevice |= input.OnDevice;
        return onDevice;
    }

    /// <summary>
    /// Throws if some inputs are on the device and others are not, or if the output is there without the inputs.
    /// </summary>
    public static void RequireOneMemory(ReadOnlySpan<TensorPanel> inputs, TensorPanel output = default)
    {
        bool onDevice = AreOnDevice(inputs);
        foreach (TensorPanel input in inputs)
        {
            if (input.OnDevice != onDevice || output.OnDevice && !onDevice)
            {
                throw new ArgumentException(
                    "The inputs of a verb must all be on the device or all in host memory; the output can be on the device only with them.",
                    nameof(inputs));
            }
        }
    }

    /// <summary>Throws if a panel is on the device: the verb accepts host memory only.</summary>
    public static void RequireHostMemory(ReadOnlySpan<TensorPanel> panels)
    {
        if (IsAnyOnDevice(panels, default))
        {
            throw new ArgumentException(
                "A momentum, a gradient or a model of the proximal term is on the device; host memory was expected.", nameof(panels));
        }
    }
}
