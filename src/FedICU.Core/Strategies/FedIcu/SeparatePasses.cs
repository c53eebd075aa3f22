using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// One pass for the norms, one for the inner products and one for the combination. The work grows linearly with the
/// number of clients.
/// </summary>
internal sealed class SeparatePasses : SplitPasses
{
    // The largest combination in bytes that always is stored: it stays in the cache until it is scaled (measured).
    private const long CachedBytes = 8 << 20;

    // The largest combination in bytes that is stored in memory beside many inputs (chosen).
    private const long StoredBytes = 512 << 20;

    // The largest number of inputs in memory for which reading them again is cheaper than storing the combination.
    // Storing moves 24 bytes an element, and reading F32 inputs again 4 bytes for each input (docs/adr/0008).
    private const int FewInputs = 12;

    /// <summary>Begins with norms that were measured before.</summary>
    public SeparatePasses(SplitInputs inputs, GroupBuffer norms, bool ownsNorms = true) : base(inputs, norms, ownsNorms) { }

    // a device keeps what it computed in its memory
    public override bool AlwaysStores => CombinationBytes <= CachedBytes && !IsOnDevice && !Inputs.IsScaled;

    private bool IsOnDevice => Inputs.Clients[0].IsOnDevice;

    private long CombinationBytes => Inputs.Tensor.Passes.Info.ElementCount * sizeof(double);

    /// <summary>Runs the pass for the norms; null if a norm is too large for later steps.</summary>
    public static SeparatePasses? TryOpen(SplitInputs inputs)
    {
        GroupBuffer norms = inputs.Tensor.Passes.Squares(inputs.Scale(inputs.Directed), inputs.Grouping);
        bool tooLarge = inputs.TakeRoots(norms, first: 0);
        if (!tooLarge)
            return new SeparatePasses(inputs, norms);
        norms.Dispose();
        return null;
    }

    public override void Multiply(GroupBuffer a, GroupBuffer b, Span<double> products)
    {
        PanelReader[] multiplied = a.Inputs == Inputs.Clients.Length ? Inputs.Clients : Inputs.All;
        Inputs.Tensor.Passes.Projections(Inputs.Scale(multiplied), Inputs.Grouping, a, b, products);
    }

    public override GroupBuffer MeasureCombination(
        PanelReader[] combined, GroupBuffer directions, ReadOnlySpan<double> weights, out Unrounded? unrounded)
    {
        bool isFaster = IsOnDevice
            // storing the combination writes it once and reads it once
            ? combined.Length * (Inputs.Tensor.Passes.Info.DType.BitSize / 8) > 2 * sizeof(double)
            : combined.Length > FewInputs && CombinationBytes <= StoredBytes
                && Array.TrueForAll(combined, static input => input.IsInMemory);
        unrounded = AlwaysStores || isFaster && !Inputs.IsScaled ? Inputs.Tensor.Passes.NewUnrounded(IsOnDevice) : null;
        return Inputs.Tensor.Passes.CombinationSquares(Inputs.Scale(combined), Inputs.Grouping, directions, unrounded);
    }
}
