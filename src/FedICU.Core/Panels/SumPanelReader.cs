using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>first + sign * second in float64: makes parameters of a delta, or a delta of parameters.</summary>
internal sealed unsafe class SumPanelReader(PanelReader first, PanelReader second, double sign, IComputeBackend backend) : PanelReader
{
    /// <summary>What the other is added to: the client's.</summary>
    public PanelReader First => first;

    public override DType DType => DType.F64;

    public override long PreloadBytes => first.PreloadBytes;

    public override void Preload(NativePool memory) => first.Preload(memory);

    public override void Forget(long start, long count) => first.Forget(start, count);

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        double* coefficients = stackalloc double[2] { 1, sign };
        var sum = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.Combine([first.Read(start, count, scratch), second.Read(start, count, scratch)], new PanelGeometry(1, count, GroupsAreColumns: false),
            new GroupValues(coefficients, 1), null, sum, null);
        return sum;
    }

    public override void Dispose() => first.Dispose();
}
