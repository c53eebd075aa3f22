using System.Globalization;
using FedICU.Text;

namespace FedICU.Panels;

/// <summary>
/// The layout of packed updates (docs/adr/0006): finds the packed tensors of a source and checks them.
/// </summary>
internal static class SparseUpdate
{
    public const string ValuesSuffix = "#values";
    public const string MaskSuffix = "#mask";

    /// <summary>A packed tensor and its two parts in the source.</summary>
    public sealed record Packed(TensorInfo Tensor, TensorInfo Values, TensorInfo Mask);

    /// <summary>Whether a tensor of this name would be read as a part of a packed tensor.</summary>
    public static bool IsPartName(string name) =>
        name.EndsWith(ValuesSuffix, StringComparison.Ordinal) || name.EndsWith(MaskSuffix, StringComparison.Ordinal);

    /// <summary>Finds the tensors of an update, and the parts of its packed tensors.</summary>
    /// <param name="source">The update.</param>
    /// <param name="global">
    /// The global model. Its descriptions are used for equal tensors, so that memory does not hold one for each client.
    /// </param>
    /// <exception cref="InvalidModelException">
    /// A part is missing or its shape or type contradicts the others.
    /// </exception>
    public static (List<TensorInfo> Tensors, Dictionary<string, Packed> Packed) Describe(TensorSource source, TensorSource global)
    {
        var tensors = new List<TensorInfo>();
        var packed = new Dictionary<string, Packed>(StringComparer.Ordinal);
        foreach (TensorInfo tensor in source.Tensors)
        {
            if (tensor.Name.EndsWith(ValuesSuffix, StringComparison.Ordinal))
            {
                string name = tensor.Name[..^ValuesSuffix.Length];
                Packed found = Describe(source, global, name, tensor);
                packed.Add(found.Tensor.Name, found);
                tensors.Add(found.Tensor);
            }
            else if (tensor.Name.EndsWith(MaskSuffix, StringComparison.Ordinal))
            {
                string name = tensor.Name[..^MaskSuffix.Length];
                if (source.Find(name + ValuesSuffix) is null)
                    throw CreateError(source, name, $"has a {Sentence.Quote(tensor.Name)} and no {Sentence.Quote(name + ValuesSuffix)}");
            }
            else
            {
                tensors.Add(tensor);
            }
        }

        foreach (Packed both in packed.Values)
        {
            if (source.Find(both.Tensor.Name) is not null)
                throw CreateError(source, both.Tensor.Name, "is present both packed and whole");
        }

        return (tensors, packed);
    }

    /// <summary>Counts the bits of a packed tensor's mask and checks them against the values.</summary>
    public static SparseMask ReadMask(TensorSource source, Packed packed)
    {
        var mask = new SparseMask(source, packed.Mask);
        int used = (int)(packed.Tensor.ElementCount % 8);
        if (used != 0 && mask.LastByte >> used != 0)
            throw CreateError(source, packed.Tensor.Name, "has mask bits beyond its last element");
        if (mask.Count != packed.Values.ElementCount)
        {
            throw CreateError(source, packed.Tensor.Name,
                $"has {Sentence.Count(packed.Values.ElementCount, "value")}, but its mask has {Sentence.Count(mask.Count, "bit")} set");
        }

        return mask;
    }

    private static Packed Describe(TensorSource source, TensorSource global, string name, TensorInfo values)
    {
        if (!values.DType.IsComputed || values.Shape.Rank != 1)
            throw CreateError(source, name, $"has values of {values}; one dimension of F64, F32, F16 or BF16 was expected");
        TensorInfo mask = source.Find(name + MaskSuffix) ?? throw CreateError(source, name, $"has no {Sentence.Quote(name + MaskSuffix)}");
        if (!source.Metadata.TryGetValue(MetadataKeys.ShapePrefix + name, out string? text))
            throw CreateError(source, name, $"has no shape in the metadata ({Sentence.Quote(MetadataKeys.ShapePrefix + name)})");
        TensorShape shape = ParseShape(text) ?? throw CreateError(source, name,
            $"has the shape {Sentence.Quote(text)} in the metadata; a form such as [2, 3] with at most {TensorShape.MaxRank} dimensions " +
                "was expected");
        if (TensorInfo.ByteLengthOf(values.DType, shape.ElementCount) is null)
            throw CreateError(source, name, $"has the shape {Sentence.Quote(text)}, of more bytes than 64 bits can count");
        long maskBytes = shape.ElementCount / 8 + (shape.ElementCount % 8 == 0 ? 0 : 1);
        if (mask.DType != DType.U8 || mask.Shape != new TensorShape(maskBytes))
            throw CreateError(source, name, $"has the shape {shape} and a mask of {mask}; a mask of U8 [{maskBytes}] was expected");
        var tensor = new TensorInfo(name, values.DType, shape);
        return new Packed(global.Find(name) is { } known && known == tensor ? known : tensor, values, mask);
    }

    private static TensorShape? ParseShape(string text)
    {
        if (!text.StartsWith('[') || !text.EndsWith(']'))
            return null;
        string inner = text[1..^1].Trim();
        if (inner.Length == 0)
            return new TensorShape();
        int rank = inner.AsSpan().Count(',') + 1;
        if (rank > TensorShape.MaxRank)
            return null;
        long[] dimensions = new long[rank];
        string[] parts = inner.Split(',');
        for (int i = 0; i < rank; i++)
        {
            if (!long.TryParse(parts[i], NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture,
                out dimensions[i]))
                return null;
        }

        try
        {
            return new TensorShape(dimensions);
        }
        catch (OverflowException)
        {
            return null;
        }
    }

    private static InvalidModelException CreateError(TensorSource source, string tensor, string what) =>
        new($"'{source.Location}': packed tensor {Sentence.Quote(tensor)} {what}.");
}
