namespace FedICU.Interop;

/// <summary>Writes a model into tensors that the caller allocated.</summary>
internal sealed unsafe class CallerSink(List<(TensorInfo Info, nint Data)> outputs) : TensorSink
{
    private readonly Dictionary<string, (TensorInfo Info, nint Data)> _outputs =
        outputs.ToDictionary(output => output.Info.Name, StringComparer.Ordinal);

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        foreach (TensorInfo tensor in tensors)
        {
            if (!_outputs.TryGetValue(tensor.Name, out (TensorInfo Info, nint Data) output))
                throw new ArgumentException($"No output tensor was given for the result's tensor '{tensor.Name}' of {tensor}.");
            if (output.Info != tensor)
                throw new ArgumentException($"The output tensor '{tensor.Name}' is {output.Info}; {tensor} was expected.");
        }

        if (_outputs.Count > tensors.Count)
        {
            string extra = _outputs.Keys.Except(tensors.Select(tensor => tensor.Name)).First();
            throw new ArgumentException($"An output tensor '{extra}' was given; the result has no such tensor.");
        }
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) =>
        source.CopyTo(new Span<byte>((byte*)_outputs[tensor.Name].Data + offset, source.Length));

    public override void* TryGetPointer(TensorInfo tensor) => (void*)_outputs[tensor.Name].Data;

    public override void Commit()
    {
    }

    public override void Abort()
    {
    }
}
