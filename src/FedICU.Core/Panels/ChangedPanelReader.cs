using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// Reads a client's update after the stages before the merge: the transforms, then the factor. Reads it as parameters
/// if the global model is given. The caller disposes both readers.
/// </summary>
/// <param name="update">Reads the client's update d.</param>
/// <param name="global">Reads the global model x; null for the update alone.</param>
/// <param name="factor">Multiplies the update.</param>
/// <param name="transform">Changes elements of the update in place; null if there is no transform.</param>
/// <param name="backend">Widens and adds.</param>
internal sealed unsafe class ChangedPanelReader(
    PanelReader update, PanelReader? global, double factor, ChangedPanelReader.Transform? transform, IComputeBackend backend) : PanelReader
{
    internal delegate void Transform(long start, Span<double> update);

    public override DType DType => DType.F64;

    public override long PreloadBytes => update.PreloadBytes;

    public override void Preload(NativePool memory) => update.Preload(memory);

    public override void Forget(long start, long count) => update.Forget(start, count);

    public override TensorPanel Read(long start, int count, Scratch scratch)
    {
        TensorPanel read = update.Read(start, count, scratch);
        var changed = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.WeightedSum([read], [1], 1, count, changed);
        transform?.Invoke(start, new Span<double>(changed.Data, count));
        if (global is null && factor == 1)
            return changed;
        double* coefficients = stackalloc double[2] { factor, 1 };
        var geometry = new PanelGeometry(1, count, GroupsAreColumns: false);
        ReadOnlySpan<TensorPanel> inputs = global is null ? [changed] : [changed, global.Read(start, count, scratch)];
        var result = new TensorPanel(scratch.Take((long)count * sizeof(double)), DType.F64);
        backend.Combine(inputs, geometry, new GroupValues(coefficients, 1), null, result, null);
        return result;
    }

    public override void Dispose() { }
}
