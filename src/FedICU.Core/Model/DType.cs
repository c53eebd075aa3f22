namespace FedICU;

/// <summary>The element types of tensors: those of the safetensors format.</summary>
/// <remarks>
/// <see cref="F64"/>, <see cref="F32"/>, <see cref="F16"/> and <see cref="BF16"/> are computed in float64 and rounded
/// once to the output's type. Integers get the weighted mean or keep the global model's value. Bool, the 8-, 6- and
/// 4-bit floats and complex numbers are only stored: the output keeps the global model's value.
/// </remarks>
public enum DType : byte
{
    /// <summary>IEEE 754 binary64.</summary>
    F64,
    /// <summary>IEEE 754 binary32.</summary>
    F32,
    /// <summary>IEEE 754 binary16.</summary>
    F16,
    /// <summary>bfloat16: the upper half of a binary32.</summary>
    BF16,
    /// <summary>Signed 64-bit integer.</summary>
    I64,
    /// <summary>Signed 32-bit integer.</summary>
    I32,
    /// <summary>Signed 16-bit integer.</summary>
    I16,
    /// <summary>Signed 8-bit integer.</summary>
    I8,
    /// <summary>Unsigned 64-bit integer.</summary>
    U64,
    /// <summary>Unsigned 32-bit integer.</summary>
    U32,
    /// <summary>Unsigned 16-bit integer.</summary>
    U16,
    /// <summary>Unsigned 8-bit integer.</summary>
    U8,
    /// <summary>Boolean, one byte each.</summary>
    Bool,
    /// <summary>8-bit float, 5 exponent and 2 mantissa bits.</summary>
    F8E5M2,
    /// <summary>8-bit float, 4 exponent and 3 mantissa bits.</summary>
    F8E4M3,
    /// <summary>8-bit float, 5 exponent and 2 mantissa bits, finite, no negative zero.</summary>
    F8E5M2Fnuz,
    /// <summary>8-bit float, 4 exponent and 3 mantissa bits, finite, no negative zero.</summary>
    F8E4M3Fnuz,
    /// <summary>8-bit exponent-only scale.</summary>
    F8E8M0,
    /// <summary>6-bit float, 2 exponent and 3 mantissa bits.</summary>
    F6E2M3,
    /// <summary>6-bit float, 3 exponent and 2 mantissa bits.</summary>
    F6E3M2,
    /// <summary>4-bit float.</summary>
    F4,
    /// <summary>Complex number of two binary32 values.</summary>
    C64,
}
