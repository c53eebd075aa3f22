using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.FedIcu;

/// <summary>The inputs of one tensor's split, and how they are cut into groups and scaled.</summary>
/// <param name="tensor">The tensor.</param>
/// <param name="options">The strategy's options.</param>
/// <param name="onDevice">Whether the inputs stay in the device's memory.</param>
/// <param name="factor">The power of two that the inputs are multiplied by before they are measured; usually 1.</param>
internal sealed class SplitInputs(TensorContext tensor, FedIcuOptions options, bool onDevice, double factor)
{
    // 2^960: the largest norm M for which M / ||V|| and 1 / M stay in float64's range, as ||V|| is above eps (derived)
    private const double LargestNorm = 9.74531401136e288;

    /// <summary>
    /// The factor 2^-128 that brings the norm of 2^60 elements of any value below 2^960, which later steps can compute
    /// with (derived).
    /// </summary>
    public const double LargeNormFactor = 1.0 / (1UL << 63) / (1UL << 63) / 4;

    public TensorContext Tensor => tensor;

    public FedIcuOptions Options => options;

    public double Factor => factor;

    /// <summary>
    /// Gets whether the inputs are measured multiplied by a factor. Norms and directions are then of that scale.
    /// </summary>
    public bool IsScaled => factor != 1;

    /// <summary>Gets how the tensor is cut into groups: columns, rows or the whole.</summary>
    public Grouping Grouping { get; } = tensor.Passes.GroupingBy(options.Axis, onDevice: onDevice);

    /// <summary>Gets the clients' tensors in the form that is split, followed by the global model's.</summary>
    public PanelReader[] All { get; } = Open(tensor, options, withGlobal: true, onDevice);

    /// <summary>Gets the clients' tensors alone.</summary>
    public PanelReader[] Clients { get; } = Open(tensor, options, withGlobal: false, onDevice);

    /// <summary>
    /// Gets the inputs whose directions have a part in the result: the clients', and possibly the previous one.
    /// </summary>
    public PanelReader[] Directed => options.PreviousEnters ? All : Clients;

    /// <summary>Returns readers of inputs multiplied by <see cref="Factor"/>.</summary>
    public PanelReader[] Scale(PanelReader[] inputs) => tensor.Passes.Scaled(inputs, factor);

    /// <summary>
    /// Replaces sums of squares by norms; norms up to eps become 0. Squares that overflowed are computed again from
    /// scaled values. Returns whether a norm is still too large for later steps.
    /// </summary>
    /// <param name="squares">The sums of squares of consecutive inputs.</param>
    /// <param name="first">The index in <see cref="All"/> of the first of them.</param>
    public bool TakeRoots(GroupBuffer squares, int first)
    {
        bool overflowed = false;
        for (int k = 0; k < squares.Inputs; k++)
        {
            GroupNorms.TakeRoots(squares[k], options.Epsilon * factor);
            overflowed |= squares[k].Contains(double.PositiveInfinity);
        }

        if (!overflowed)
            return false;
        PanelReader[] onHost = Open(tensor, options, withGlobal: true, onDevice: false);
        tensor.Passes.RestoreNorms(squares, Scale(onHost[first..]), tensor.Passes.GroupingBy(options.Axis));
        bool tooLarge = false;
        for (int k = 0; k < squares.Inputs; k++)
            tooLarge |= squares[k].ContainsAnyExceptInRange(0, IsScaled ? double.MaxValue : LargestNorm);
        return tooLarge;
    }

    private static PanelReader[] Open(TensorContext tensor, FedIcuOptions options, bool withGlobal, bool onDevice)
    {
        UpdateForm form = options.Target == SplitTarget.Delta ? UpdateForm.Delta : UpdateForm.Parameters;
        return tensor.Inputs(form, withGlobal, onDevice: onDevice);
    }
}
