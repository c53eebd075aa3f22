using FedICU.Text;

namespace FedICU.Model;

/// <summary>
/// A quantized tensor: codes that have no meaning without their companions (scales, zero points, code books).
/// </summary>
/// <param name="Scheme">The library or format that wrote it, for messages.</param>
/// <param name="Code">The tensor of codes.</param>
/// <param name="Companion">One of its companions, for messages.</param>
/// <param name="Names">The names of the code tensor and of all its companions.</param>
internal sealed record QuantizedTensor(string Scheme, TensorInfo Code, string Companion, IReadOnlyList<string> Names)
{
    /// <summary>Describes why the tensor cannot be averaged.</summary>
    public string Describe() => $"{Sentence.Quote(Code.Name)} of {Code} is quantized ({Scheme}, with {Sentence.Quote(Companion)}); " +
        "codes and scales are not numbers to be averaged";
}
