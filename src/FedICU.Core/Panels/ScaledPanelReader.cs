using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Reads the values of another reader in float64, multiplied by a power of two. The caller disposes the other reader.
/// </summary>
internal sealed unsafe class ScaledPanelReader(PanelReader values, double factor, IComputeBackend backend) : PanelReader
{
    public override DType DType => DType.F64;

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        var scaled = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.WeightedSum([values.Read(start, count, scratch)], [factor], 1, count, scaled);
        return scaled;
    }

    public override void Dispose() { }
}
