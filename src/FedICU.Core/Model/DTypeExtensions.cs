namespace FedICU;

/// <summary>Properties of a <see cref="DType"/>: its size, its name in files, and how it is aggregated.</summary>
public static class DTypeExtensions
{
    // In the order of the enum.
    private static readonly (string Name, int Bits)[] Table =
    [
        ("F64", 64), ("F32", 32), ("F16", 16), ("BF16", 16),
        ("I64", 64), ("I32", 32), ("I16", 16), ("I8", 8), ("U64", 64), ("U32", 32), ("U16", 16), ("U8", 8),
        ("BOOL", 8), ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E5M2FNUZ", 8), ("F8_E4M3FNUZ", 8), ("F8_E8M0", 8),
        ("F6_E2M3", 6), ("F6_E3M2", 6), ("F4", 4),
        ("C64", 64),
    ];

    extension(DType dtype)
    {
        /// <summary>Gets the size of one element in bits.</summary>
        public int BitSize => Table[(int)dtype].Bits;

        /// <summary>Gets the name in a safetensors header, for example <c>BF16</c>.</summary>
        public string SafetensorsName => Table[(int)dtype].Name;

        /// <summary>Gets whether the library computes with this type: f64, f32, f16, bf16.</summary>
        public bool IsComputed => dtype <= DType.BF16;

        /// <summary>Gets whether this is a signed or unsigned integer type. Bool is not.</summary>
        public bool IsInteger => dtype is >= DType.I64 and <= DType.U8;
    }

    /// <summary>Finds the type with the given name in a safetensors header (case-sensitive).</summary>
    /// <param name="name">The name, for example <c>F32</c>.</param>
    /// <param name="dtype">The type found.</param>
    /// <returns>False if the format has no such type.</returns>
    public static bool TryParseSafetensorsName(string? name, out DType dtype)
    {
        int index = Array.FindIndex(Table, entry => entry.Name == name);
        dtype = (DType)Math.Max(index, 0);
        return index >= 0;
    }
}
