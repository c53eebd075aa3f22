using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// The passes over one tensor that give the split its numbers: the norms of all inputs' columns, inner products of
/// directions, and the norms of the combined direction. There are two ways to get them, <see cref="SeparatePasses"/>
/// and <see cref="GramPass"/>. The tensor's shape and the number of clients decide which is used (docs/adr/0008), so
/// that the result does not depend on the machine.
/// </summary>
/// <param name="inputs">The inputs.</param>
/// <param name="norms">
/// ||theta_k[:,c]|| for each client and, if its direction has a part, the global model last. Norms up to eps are 0. All
/// are multiplied by <see cref="SplitInputs.Factor"/>, which cancels in every later step.
/// </param>
/// <param name="ownsNorms">Whether the norms are disposed with the passes.</param>
internal abstract class SplitPasses(SplitInputs inputs, GroupBuffer norms, bool ownsNorms = true) : IDisposable
{
    private GroupBuffer? _previous;

    public SplitInputs Inputs => inputs;

    public GroupBuffer Norms => norms;

    /// <summary>
    /// Gets the global model's norms, for columns that keep the previous direction. They are seldom needed, and
    /// measured when first asked for.
    /// </summary>
    public ReadOnlySpan<double> PreviousNorms
    {
        get
        {
            int global = inputs.All.Length - 1;
            if (norms.Inputs > global)
                return norms[global];
            if (_previous is null)
            {
                _previous = inputs.Tensor.Passes.Squares(inputs.Scale(inputs.All[^1..]), inputs.Grouping);
                inputs.TakeRoots(_previous, first: global);
            }

            return _previous[0];
        }
    }

    /// <summary>
    /// Gets whether <see cref="MeasureCombination"/> always stores the combination, which the tensor's size decides.
    /// </summary>
    public virtual bool AlwaysStores => false;

    /// <summary>Runs the first pass over a tensor.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="options">The strategy's options.</param>
    /// <param name="known">
    /// The norms if they were measured before, which take the place of the pass; otherwise null.
    /// </param>
    /// <param name="ownsKnown">Whether the known norms are disposed with the passes.</param>
    /// <exception cref="NonFiniteOutputException">An input or an update is too large for float64.</exception>
    public static SplitPasses Open(TensorContext tensor, FedIcuOptions options, GroupBuffer? known = null, bool ownsKnown = false)
    {
        SplitInputs inputs = OpenInputs(tensor, options);
        GroupBuffer? grams = tensor.Passes.TryGram(inputs.Directed, inputs.Grouping);
        if (grams is not null && !GramPass.HasOverflowed(grams, inputs.Directed.Length))
            return GramPass.Open(inputs, grams, known, ownsKnown);
        grams?.Dispose();
        return known is not null ? new SeparatePasses(inputs, known, ownsKnown) : OpenSeparate(tensor, options, inputs);
    }

    /// <summary>
    /// Runs the first pass again, later in the round: with the norms that were kept the first time, or measured again
    /// in the same way, which gives the same bits.
    /// </summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="options">The strategy's options.</param>
    /// <param name="kept">The norms; null if they were not kept.</param>
    /// <param name="ownsKept">Whether the norms are disposed with the passes.</param>
    /// <exception cref="NonFiniteOutputException">An input or an update is too large for float64.</exception>
    public static SplitPasses OpenAgain(TensorContext tensor, FedIcuOptions options, GroupBuffer? kept, bool ownsKept)
    {
        if (kept is not null)
            return Open(tensor, options, kept, ownsKept);
        SeparatePasses measured = OpenSeparate(tensor, options, OpenInputs(tensor, options));
        // otherwise the norms change their owner
        return measured.Inputs.IsScaled ? measured : Open(tensor, options, measured.Norms, ownsKnown: true);
    }

    /// <summary>Measures the norms alone, and keeps them for the round's later passes over the tensor.</summary>
    /// <exception cref="NonFiniteOutputException">An input or an update is too large for float64.</exception>
    public static SplitPasses OpenForNorms(TensorContext tensor, FedIcuOptions options)
    {
        SplitInputs inputs = OpenInputs(tensor, options);
        SeparatePasses passes = OpenSeparate(tensor, options, inputs);
        if (!passes.Inputs.IsScaled)
            KeptNorms.Of(tensor.Plan).Keep(tensor.Info.Name, passes.Norms);
        return passes;
    }

    /// <summary>Opens the inputs and loads small ones, which all passes then read from memory.</summary>
    private static SplitInputs OpenInputs(TensorContext tensor, FedIcuOptions options)
    {
        // updates are computed on the host, in panels that its caches hold
        bool onDevice = tensor.OnDevice && tensor.Passes.Finish is null && !tensor.ChangesUpdates && options.Target != SplitTarget.Delta;
        var inputs = new SplitInputs(tensor, options, onDevice, factor: 1);
        tensor.Passes.Preload(inputs.Directed);
        return inputs;
    }

    private static SeparatePasses OpenSeparate(TensorContext tensor, FedIcuOptions options, SplitInputs inputs) =>
        SeparatePasses.TryOpen(inputs)
            ?? SeparatePasses.TryOpen(new SplitInputs(tensor, options, onDevice: false, SplitInputs.LargeNormFactor))
            ?? throw new NonFiniteOutputException(
                tensor.Info, "an input, or its difference to the global model, is too large for F64.");

    /// <summary>Rents memory for one value of each input and column.</summary>
    public GroupBuffer NewGroups(int count, bool clear) => inputs.Tensor.Passes.NewGroups(count, inputs.Grouping.Groups, clear);

    /// <summary>
    /// Computes, for each client k, the sum over the columns c of the inner products of a_k[c] theta_k[:,c] with
    /// sum_j b_j[c] theta_j[:,c].
    /// </summary>
    public abstract void Multiply(GroupBuffer a, GroupBuffer b, Span<double> products);

    /// <summary>Computes ||sum_k w_k / M_k[c] theta_k[:,c]||^2 for each column c.</summary>
    /// <param name="combined">The clients, followed by the global model if its direction has a part.</param>
    /// <param name="directions">The coefficients w_k / M_k[c].</param>
    /// <param name="weights">The weights w_k.</param>
    /// <param name="unrounded">The combination itself in float64 if the pass stored it; otherwise null.</param>
    public abstract GroupBuffer MeasureCombination(
        PanelReader[] combined, GroupBuffer directions, ReadOnlySpan<double> weights, out Unrounded? unrounded);

    /// <summary>Writes the output, a combination of inputs.</summary>
    public void Write(PanelReader[] combined, GroupBuffer coefficients)
    {
        if (inputs.IsScaled)
            inputs.Tensor.Passes.CombineScaled(inputs.Scale(combined), inputs.Grouping, coefficients, 1 / inputs.Factor);
        else
            inputs.Tensor.Passes.Combine(combined, inputs.Grouping, coefficients, null);
    }

    public virtual void Dispose()
    {
        if (ownsNorms)
            norms.Dispose();
        _previous?.Dispose();
    }
}
