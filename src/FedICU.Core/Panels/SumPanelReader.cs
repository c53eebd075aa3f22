using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>Computes first + sign * second in float64: parameters from a delta, or a delta from parameters.</summary>
internal sealed unsafe class SumPanelReader(PanelReader first, PanelReader second, double sign, IComputeBackend backend) : PanelReader
{
    /// <summary>The client's reader, which this one disposes.</summary>
    public PanelReader First => first;

    public override DType DType => DType.F64;

    public override long PreloadBytes => first.PreloadBytes;

    public override void Preload(NativePool memory) => first.Preload(memory);

    public override void Forget(long start, long count) => first.Forget(start, count);

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        double* coefficients = stackalloc double[2] { 1, sign };
        var sum = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        var geometry = new PanelGeometry(1, count, GroupsAreColumns: false);
        backend.Combine(
            [first.Read(start, count, scratch), second.Read(start, count, scratch)], geometry, new GroupValues(coefficients, 1), null, sum,
            null);
        return sum;
    }

    public override void Dispose() => first.Dispose();
}
