using System.Globalization;

namespace FedICU;

/// <summary>What a client's masked update sends, and what it saves.</summary>
/// <param name="Tensors">The tensors of the model in the global model's order.</param>
public sealed record MaskReport(IReadOnlyList<TensorMaskReport> Tensors)
{
    /// <summary>Gets the bytes of the tensors in the update.</summary>
    public long BytesSent => Tensors.Sum(tensor => tensor.BytesSent);

    /// <summary>Gets the bytes that the whole model takes.</summary>
    public long BytesFull => Tensors.Sum(tensor => tensor.BytesFull);

    /// <summary>Returns one line: the entries and bytes sent, and the share of bytes saved.</summary>
    public override string ToString()
    {
        long elements = Tensors.Sum(tensor => tensor.Elements), sent = Tensors.Sum(tensor => tensor.Sent);
        double share = elements == 0 ? 0 : (double)sent / elements, saved = BytesFull == 0 ? 0 : 1 - (double)BytesSent / BytesFull;
        return string.Create(
            CultureInfo.InvariantCulture,
            $"sent {sent} of {elements} entries ({share:P1}), {BytesSent} of {BytesFull} bytes: {saved:P1} saved");
    }
}
