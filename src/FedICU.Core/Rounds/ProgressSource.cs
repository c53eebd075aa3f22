namespace FedICU.Rounds;

/// <summary>A model that reports the progress of its reading.</summary>
internal sealed class ProgressSource(TensorSource source, ProgressMeter meter) : TensorSource
{
    private readonly Dictionary<string, ProgressMeter.TensorProgress> _tensors =
        source.Tensors.ToDictionary(tensor => tensor.Name, meter.Begin, StringComparer.Ordinal);

    public override IReadOnlyList<TensorInfo> Tensors => source.Tensors;

    public override string Location => source.Location;

    public override bool IsInMemory => source.IsInMemory;

    public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
    {
        source.Read(tensor, offset, destination);
        if (offset + destination.Length == tensor.ByteLength)
            _tensors[tensor.Name].End();
        else
            _tensors[tensor.Name].Add(destination.Length);
    }

    internal override void RequireUnchanged() => source.RequireUnchanged();
}
