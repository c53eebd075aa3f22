using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>Reads an <see cref="Unrounded"/> combination, which the caller keeps and disposes.</summary>
internal sealed class UnroundedReader : PanelReader
{
    public Unrounded? Values { get; set; }

    public override DType DType => DType.F64;

    public override bool IsInMemory => true;

    public override bool IsOnDevice => Values!.Value.OnDevice;

    public override TensorPanel Read(long start, int count, Scratch scratch) => Values!.Value.From(start);

    public override void Dispose() => Values = null;
}
