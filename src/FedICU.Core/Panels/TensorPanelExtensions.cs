using FedICU.Compute;

namespace FedICU.Panels;

/// <summary>Moves along a panel.</summary>
internal static unsafe class TensorPanelExtensions
{
    /// <summary>
    /// Returns the panel from element <paramref name="start"/> on; a panel without data stays without data.
    /// </summary>
    public static TensorPanel From(this TensorPanel panel, long start) =>
        panel.Data is null ? panel : new TensorPanel((byte*)panel.Data + start * (panel.DType.BitSize / 8), panel.DType, panel.OnDevice);
}
