namespace FedICU.Compute;

/// <summary>N x groups values in float64: the value of input k and group g is Data[k * Stride + g].</summary>
/// <param name="data">The value of input 0 and group 0.</param>
/// <param name="stride">The distance from one input to the next, in values.</param>
public readonly unsafe struct GroupValues(double* data, long stride)
{
    /// <summary>Gets the address of the value of input 0 and group 0.</summary>
    public double* Data { get; } = data;

    /// <summary>Gets the distance from one input to the next, in values.</summary>
    public long Stride { get; } = stride;

    /// <summary>Returns the address of an input's values.</summary>
    public double* Row(int input) => Data + input * Stride;
}
