namespace FedICU.Compute;

/// <summary>N x groups values in float64: value of input k and group g at Data[k * Stride + g].</summary>
/// <param name="data">The value of input 0 and group 0.</param>
/// <param name="stride">The distance from one input to the next.</param>
public readonly unsafe struct GroupValues(double* data, long stride)
{
    /// <summary>The value of input 0 and group 0.</summary>
    public double* Data { get; } = data;

    /// <summary>The distance from one input to the next.</summary>
    public long Stride { get; } = stride;

    /// <summary>The values of one input.</summary>
    public double* Row(int input) => Data + input * Stride;
}
