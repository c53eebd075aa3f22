namespace FedICU.Fedn.Npz;

/// <summary>The most bytes that the header of a safetensors file takes.</summary>
internal static class HeaderBound
{
    // The most bytes that JSON may need: for a character as an escape, for a dimension with its comma, and for a
    // tensor's keys.
    private const long CharacterBytes = 6, DimensionBytes = 21, TensorBytes = 128;

    /// <summary>Computes the bytes for the names and shapes of these tensors.</summary>
    public static long Of(IEnumerable<TensorInfo> tensors) =>
        tensors.Sum(tensor => CharacterBytes * tensor.Name.Length + DimensionBytes * tensor.Shape.Rank + TensorBytes);
}
