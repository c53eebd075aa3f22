using FedICU.Compute;

namespace FedICU.Rounds.Lora;

/// <summary>
/// The scalars <c>.alpha</c> that kohya's and LyCORIS' files keep beside a module's factors. They are settings, not
/// weights: the same factors with another alpha are another product.
/// </summary>
internal static class LoraAlphas
{
    private static readonly string[] Factors = [".lora_", ".hada_", ".lokr_"];

    /// <summary>Finds the alphas of a model, in its order.</summary>
    public static List<TensorInfo> Find(TensorSource model)
    {
        List<TensorInfo> scalars =
            [.. model.Tensors.Where(tensor => tensor.ElementCount == 1 && LoraName.Parse(tensor.Name) is { Kind: LoraName.Alpha })];
        if (scalars.Count == 0)
            return scalars;
        var modules = new HashSet<string>(StringComparer.Ordinal);
        foreach (TensorInfo tensor in model.Tensors)
        {
            foreach (string factor in Factors)
            {
                if (tensor.Name.LastIndexOf(factor, StringComparison.Ordinal) is var at and >= 0)
                    modules.Add(tensor.Name[..at]);
            }
        }

        return [.. scalars.Where(tensor => modules.Contains(LoraName.Parse(tensor.Name)!.Value.Module))];
    }

    /// <summary>Reads the value of a scalar; null if it is none, or if its type is not read as a number.</summary>
    public static unsafe double? Read(TensorSource model, TensorInfo tensor)
    {
        if (tensor.ElementCount != 1 || tensor.ByteLength > sizeof(double))
            return null;
        byte* value = stackalloc byte[sizeof(double)];
        model.Read(tensor, 0, new Span<byte>(value, (int)tensor.ByteLength));
        return tensor.DType switch
        {
            DType.I64 => *(long*)value,
            DType.I32 => *(int*)value,
            var type when type.IsComputed => Rounding.Read(value, type, 0),
            _ => null,
        };
    }

    /// <summary>Writes a scalar, which its type can hold.</summary>
    public static unsafe void Write(TensorSink sink, TensorInfo tensor, double alpha)
    {
        byte* value = stackalloc byte[sizeof(double)];
        if (tensor.DType.IsComputed)
            Rounding.Write(value, tensor.DType, 0, alpha);
        else if (tensor.DType == DType.I64)
            *(long*)value = (long)alpha;
        else
            *(int*)value = (int)alpha;
        sink.Write(tensor, 0, new ReadOnlySpan<byte>(value, (int)tensor.ByteLength));
    }

    /// <summary>Returns whether a type holds an alpha without a change.</summary>
    public static unsafe bool CanHold(DType type, double alpha)
    {
        if (type == DType.I64 || type == DType.I32)
            return alpha == Math.Truncate(alpha) && Math.Abs(alpha) <= (type == DType.I64 ? 1L << 53 : int.MaxValue);
        if (!type.IsComputed)
            return false;
        byte* value = stackalloc byte[sizeof(double)];
        Rounding.Write(value, type, 0, alpha);
        return Rounding.Read(value, type, 0).Equals(alpha);
    }
}
