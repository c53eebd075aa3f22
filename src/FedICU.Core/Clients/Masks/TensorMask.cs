using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// A mask rule applied to one tensor: decides which entries are sent, and computes the values that differ from the
/// trained and the received model. Each rule is a class of its own.
/// </summary>
/// <param name="tensor">The tensor.</param>
/// <param name="scales">The scales of its magnitudes.</param>
internal abstract unsafe class TensorMask(ClientTensor tensor, MagnitudeScales scales) : IDisposable
{
    /// <summary>Creates the mask of the rule that the options ask for.</summary>
    public static TensorMask Create(ClientTensor tensor, MagnitudeScales scales) => tensor.Run.Options.Mask switch
    {
        MaskRule.Soft => new SoftMask(tensor, scales),
        MaskRule.TopRatio => new TopRatioMask(tensor, scales),
        MaskRule.GaussianNoise => new NoiseMask(tensor, scales),
        MaskRule.Hard => new HardMask(tensor, scales),
        var other => throw new InvalidOperationException($"There is no mask for the rule {other}."),
    };

    protected ClientTensor Tensor => tensor;

    protected MaskRun Run => tensor.Run;

    protected MagnitudeScales Scales => scales;

    /// <summary>
    /// Gets a bit for each entry, eight to a byte, least significant bit first; 1 if the entry is sent.
    /// </summary>
    public byte[] Bits { get; } = new byte[ByteCount(tensor.Info)];

    /// <summary>Gets whether writing the update needs the importances of the whole tensor, if there are any.</summary>
    public virtual bool WritesFromImportances => false;

    /// <summary>Gets whether writing the update needs the momentum.</summary>
    public virtual bool WritesFromMomentum => false;

    /// <summary>Returns the number of bytes of a tensor's mask.</summary>
    public static long ByteCount(TensorInfo info) => (info.ElementCount + 7) / 8;

    /// <summary>
    /// Sets the bits of the entries that are sent, and writes the momentum. Returns the number of entries.
    /// </summary>
    /// <param name="importances">The importances of the whole tensor, if the options need them.</param>
    /// <param name="workers">The threads.</param>
    public abstract long Select(WholeImportances? importances, Workers workers);

    /// <summary>Returns the bits of a panel.</summary>
    public Span<byte> BitsOf(Grouping.Panel panel) => Bits.AsSpan((int)(panel.Start / 8), (panel.Length + 7) / 8);

    /// <summary>
    /// Gets whether the rule computes values of its own. Otherwise entries that are sent have the trained value, and
    /// the others have the fill.
    /// </summary>
    public virtual bool ComputesValues => false;

    /// <summary>Overwrites the values of a panel that the rule computes.</summary>
    /// <param name="panel">The panel.</param>
    /// <param name="inputs">The panel of all inputs, in host memory.</param>
    /// <param name="fill">The fill of entries that are not sent; null for zeros.</param>
    /// <param name="values">The panel's values in the tensor's type: the trained value or the fill.</param>
    /// <param name="importances">The importances of the whole tensor, see <see cref="WritesFromImportances"/>.</param>
    /// <param name="scratch">Memory for the panel.</param>
    public virtual void ComputeValues(
        Grouping.Panel panel, in ImportanceInputs inputs, void* fill, void* values, WholeImportances? importances, Scratch scratch)
    {
    }

    /// <summary>Returns a panel's packed values if they were kept while the mask was decided; otherwise null.</summary>
    public virtual byte* TryGetPacked(int piece) => null;

    /// <summary>Releases what was kept for writing.</summary>
    public virtual void Dispose() { }

    /// <summary>Writes the momentum in a pass of its own, for rules that do not write it while they select.</summary>
    protected void WriteMomentum(Workers workers)
    {
        if (Run.MomentumOutput is null)
            return;
        var writer = new PanelWriter(Run.MomentumOutput, Tensor.MomentumInfo);
        Tensor.ForEachPanel(workers, (_, panel, in inputs, scratch) =>
        {
            TensorPanel momentum = writer.Begin(panel.Start, panel.Length, scratch);
            Run.Backend.SelectImportant(inputs, panel.Length, MagnitudeScales.Identity, MagnitudeScales.Identity, null, momentum);
            writer.End(momentum, panel.Start, panel.Length);
        });
    }

    /// <summary>Returns whether an entry's bit is set.</summary>
    protected static bool IsSet(byte* mask, int i) => (mask[i / 8] >> i % 8 & 1) != 0;

    /// <summary>Sets an entry's bit.</summary>
    protected static void Set(Span<byte> mask, int i) => mask[i / 8] |= (byte)(1 << i % 8);
}
