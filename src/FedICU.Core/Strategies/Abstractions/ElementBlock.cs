namespace FedICU;

/// <summary>Consecutive elements of one tensor during a <see cref="ServerStep"/>, in float64.</summary>
public readonly unsafe ref struct ElementBlock
{
    private readonly double* _state, _sums;
    private readonly int _stride;

    internal ElementBlock(
        RoundPlan plan, TensorInfo tensor, long start, Span<double> update, ReadOnlySpan<double> global, double* state, double* sums,
        int stride)
    {
        (Plan, Tensor, Start, _stride) = (plan, tensor, start, stride);
        _state = state;
        _sums = sums;
        Update = update;
        Global = global;
    }

    /// <summary>Gets the round's plan.</summary>
    public RoundPlan Plan { get; }

    /// <summary>Gets the tensor.</summary>
    public TensorInfo Tensor { get; }

    /// <summary>Gets the flat index of the block's first element in the tensor.</summary>
    public long Start { get; }

    /// <summary>
    /// Gets the merged update D; the step replaces it by the update that is added to the global model.
    /// </summary>
    public Span<double> Update { get; }

    /// <summary>Gets the global model's elements x.</summary>
    public ReadOnlySpan<double> Global { get; }

    /// <summary>Gets the elements of a sum over the clients.</summary>
    /// <param name="sum">The index in <see cref="ServerStep.GetSums"/>.</param>
    public ReadOnlySpan<double> Sum(int sum) => new(_sums + (long)sum * _stride, Update.Length);

    /// <summary>
    /// Gets the elements of a state; the step replaces them by the new state, which is rounded only after the round.
    /// </summary>
    /// <param name="slot">The index in <see cref="ServerStep.State"/>.</param>
    public Span<double> State(int slot) => new(_state + (long)slot * _stride, Update.Length);
}
