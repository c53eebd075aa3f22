using System.Globalization;

namespace FedICU;

/// <summary>What a client's masked update sends, and what it saves.</summary>
/// <param name="Tensors">Each tensor of the model, in the global model's order.</param>
public sealed record MaskReport(IReadOnlyList<TensorMaskReport> Tensors)
{
    /// <summary>Bytes of the tensors sent.</summary>
    public long BytesSent => Tensors.Sum(tensor => tensor.BytesSent);

    /// <summary>Bytes that the whole model would take.</summary>
    public long BytesFull => Tensors.Sum(tensor => tensor.BytesFull);

    /// <summary>One line: entries and bytes sent of all.</summary>
    public override string ToString()
    {
        long elements = Tensors.Sum(tensor => tensor.Elements), sent = Tensors.Sum(tensor => tensor.Sent);
        return string.Create(CultureInfo.InvariantCulture,
            $"sent {sent} of {elements} entries ({(elements == 0 ? 0 : (double)sent / elements):P1}), {BytesSent} of {BytesFull} bytes: {(BytesFull == 0 ? 0 : 1 - (double)BytesSent / BytesFull):P1} saved");
    }
}
