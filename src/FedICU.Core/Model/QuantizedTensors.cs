namespace FedICU.Model;

/// <summary>
/// Recognizes quantized tensors: a code tensor (integers, 8- or 4-bit floats) and a companion that share a stem
/// (docs/algorithms.md, Quantized tensors). Float tensors alone are ordinary tensors, whatever their names: any model
/// may have tensors called <c>scales</c>.
/// </summary>
internal static class QuantizedTensors
{
    private const string BitsAndBytesState = ".quant_state.bitsandbytes__";

    private static readonly string[] States = [BitsAndBytesState + "nf4", BitsAndBytesState + "fp4"];

    private static readonly Layout[] Layouts =
    [
        new("bitsandbytes 8-bit", "weight", IsByte) { Decisive = ["SCB", "weight.SCB"], Others = ["weight_format"] },
        new("GPTQ or AWQ", "qweight", IsInteger) { Decisive = ["scales", "qzeros"], Others = ["g_idx", "perm"] },
        new("compressed-tensors", "_packed", IsInteger)
        {
            Decisive = ["_scale"],
            Others = ["_zero_point", "_shape", "_g_idx", "_global_scale"],
        },
        new("MXFP4", "_blocks", dtype => dtype == DType.U8) { Decisive = ["_scales"] },
        new("HQQ", "W_q", IsInteger) { Decisive = ["scale", "zero"], Others = ["meta", "group_size", "nbits", "shape", "packing", "axis"] },
        new("AQLM", "codes", IsInteger) { Decisive = ["codebooks"], Others = ["scales"] },
        new("quanto", "._data", dtype => IsInteger(dtype) || IsSmallFloat(dtype))
        {
            Decisive = ["._scale"],
            Others = ["._shift", "._zeropoint"],
        },
        new("8-bit integers with scales", "", IsByte)
        {
            Decisive = ["_scale", "_scale_inv", "_scales"],
            Others = ["_zero_point", "_scale_2"],
        },
        new("8-bit or smaller floats with scales", "", IsSmallFloat)
        {
            Decisive = ["_scale", "_scale_inv", "_scales"],
            DecisiveOfModule = ["input_scale", "scale_weight", "scale_input"],
            Others = ["_scale_2", "_global_scale"],
        },
    ];

    // Companions that a module's codes may have in any scheme. They do not prove that the module is quantized.
    private static readonly string[] ModuleCompanions = ["input_scale", "input_zero_point", "input_global_scale"];

    /// <summary>The names that a scheme gives its tensors.</summary>
    /// <param name="Scheme">The scheme's name in messages.</param>
    /// <param name="Code">The ending of the code tensor's name; the part before it is the stem.</param>
    /// <param name="IsCode">Whether codes may have this type.</param>
    private sealed record Layout(string Scheme, string Code, Func<DType, bool> IsCode)
    {
        /// <summary>Names after the stem, each of which proves that the codes are quantized.</summary>
        public string[] Decisive { get; init; } = [];

        /// <summary>Names after the module's name, each of which proves that the codes are quantized.</summary>
        public string[] DecisiveOfModule { get; init; } = [];

        /// <summary>Other companions, named after the stem.</summary>
        public string[] Others { get; init; } = [];
    }

    /// <summary>Finds all quantized tensors.</summary>
    /// <param name="tensors">A model's tensors.</param>
    /// <param name="find">Finds one of them by its name.</param>
    public static List<QuantizedTensor> Find(IEnumerable<TensorInfo> tensors, Func<string, TensorInfo?> find)
    {
        var found = new List<QuantizedTensor>();
        foreach (TensorInfo tensor in tensors)
        {
            if (!tensor.DType.IsComputed && (FindBitsAndBytes(tensor, find) ?? FindLayout(tensor, find)) is { } quantized)
                found.Add(quantized);
        }

        return found;
    }

    /// <summary>
    /// Recognizes the 4-bit layout of bitsandbytes: U8 codes beside <c>.absmax</c>, or codes of any type
    /// (<c>bnb_4bit_quant_storage</c>) beside the description <c>.quant_state.bitsandbytes__nf4</c>.
    /// </summary>
    private static QuantizedTensor? FindBitsAndBytes(TensorInfo tensor, Func<string, TensorInfo?> find)
    {
        const string Scheme = "bitsandbytes 4-bit";
        int at = tensor.Name.LastIndexOf(BitsAndBytesState, StringComparison.Ordinal);
        if (at > 0 && find(tensor.Name[..at]) is { } stored)
            return Make(stored, tensor.Name);
        string scales = tensor.Name + ".absmax";
        // If there is a description, it has already led to this tensor.
        bool described = States.Any(state => find(tensor.Name + state) is not null);
        return tensor.DType == DType.U8 && !described && find(scales) is not null ? Make(tensor, scales) : null;

        QuantizedTensor Make(TensorInfo code, string companion)
        {
            string[] parts = [".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map", .. States];
            IEnumerable<string> companions = parts.Select(part => code.Name + part).Append(companion).Distinct();
            return new QuantizedTensor(Scheme, code, companion, [code.Name, .. companions.Where(name => find(name) is not null)]);
        }
    }

    private static QuantizedTensor? FindLayout(TensorInfo tensor, Func<string, TensorInfo?> find)
    {
        foreach (Layout layout in Layouts)
        {
            if (!layout.IsCode(tensor.DType) || !EndsWithPart(tensor.Name, layout.Code))
                continue;
            string stem = tensor.Name[..^layout.Code.Length], module = tensor.Name[..(tensor.Name.LastIndexOf('.') + 1)];
            string[] decisive =
                [.. layout.Decisive.Select(part => stem + part), .. layout.DecisiveOfModule.Select(part => module + part)];
            if (Array.Find(decisive, name => find(name) is not null) is not { } companion)
                continue;
            IEnumerable<string> others =
                layout.Others.Select(part => stem + part).Concat(ModuleCompanions.Select(part => module + part));
            string[] names = [tensor.Name, .. decisive.Concat(others).Where(name => find(name) is not null).Distinct()];
            return new QuantizedTensor(layout.Scheme, tensor, companion, names);
        }

        return null;
    }

    // 'qweight' must be the last part of a name; '_packed' and '._data' only its end.
    private static bool EndsWithPart(string name, string part) =>
        name.EndsWith(part, StringComparison.Ordinal) &&
        (part.Length == 0 || part[0] is '_' or '.' || name.Length == part.Length || name[^(part.Length + 1)] == '.');

    private static bool IsByte(DType dtype) => dtype is DType.I8 or DType.U8;

    private static bool IsInteger(DType dtype) => dtype.IsInteger;

    private static bool IsSmallFloat(DType dtype) => dtype is >= DType.F8E5M2 and <= DType.F4;
}
