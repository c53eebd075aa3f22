using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Clients.Masks;

/// <summary>
/// One tensor as a client reads it: its values in the received model, in the trained model and in the momentum, panel
/// by panel. The readers are open only while a step runs.
/// </summary>
internal sealed class ClientTensor(MaskRun run, TensorInfo info) : IDisposable
{
    // elements of a panel on a device: enough to keep it busy (chosen)
    private const int DevicePanelElements = 1 << 22;

    // The number of inputs that panels are cut for: received, trained, momentum and output. Grouping cuts multiples of
    // 64 elements, so that each panel but the last has whole mask bytes.
    private const int InputsPerPanel = 4;

    private readonly MomentumRule _momentumRule = run.Momentum is null ? MomentumRule.None : run.Options.Momentum;

    public delegate void PanelAction(int piece, Grouping.Panel panel, in ImportanceInputs inputs, Scratch scratch);

    public MaskRun Run => run;

    public TensorInfo Info => info;

    /// <summary>Gets the tensor's momentum in the momentum output.</summary>
    public TensorInfo MomentumInfo { get; } = MaskRun.MomentumInfo(info);

    /// <summary>Gets the bytes of an element.</summary>
    public int ElementSize { get; } = info.DType.BitSize / 8;

    /// <summary>Gets the panels. Their number and sizes depend on the tensor's shape alone.</summary>
    public List<Grouping.Panel> Panels { get; } = !info.DType.IsComputed
        ? []
        : new Grouping(info.Shape, NormAxis.Tensor, panelElements: run.OnDevice ? _ => DevicePanelElements : null).Panels(InputsPerPanel);

    /// <summary>Gets the reader of the received model.</summary>
    public PanelReader? Global { get; private set; }

    /// <summary>Gets the reader of the trained model.</summary>
    public PanelReader? Local { get; private set; }

    /// <summary>Gets the reader of the momentum; null without a momentum.</summary>
    public PanelReader? Momentum { get; private set; }

    /// <summary>
    /// Opens the readers for a step. Dispose the tensor at the end of the step; it may then be opened again.
    /// </summary>
    /// <param name="onDevice">Whether panels stay in the device's memory.</param>
    public ClientTensor Open(bool onDevice)
    {
        try
        {
            Global = new DensePanelReader(run.Global, info, onDevice: onDevice);
            Local = new DensePanelReader(run.Local, run.Local.FindTied(info.Name)!, onDevice: onDevice);
            if (_momentumRule != MomentumRule.None)
                Momentum = new DensePanelReader(run.Momentum!, run.Momentum!.Find(info.Name)!, onDevice: onDevice);
            return this;
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Closes the readers and releases the memory they pinned.</summary>
    public void Dispose()
    {
        Global?.Dispose();
        Local?.Dispose();
        Momentum?.Dispose();
        (Global, Local, Momentum) = (null, null, null);
    }

    /// <summary>Runs an action for each panel.</summary>
    public void ForEachPanel(Workers workers, PanelAction action, bool parallel = true) =>
        workers.Run(Panels.Count, parallel && Panels.Count > 1, (piece, scratch) =>
            action(piece, Panels[piece], Read(Panels[piece], scratch), scratch));

    /// <summary>Reads a panel of all inputs.</summary>
    public ImportanceInputs Read(Grouping.Panel panel, Scratch scratch, bool withMomentum = true) =>
        Read(panel, ReadGlobal(panel, scratch), scratch, withMomentum);

    /// <summary>Reads a panel of the other inputs beside one of the received model.</summary>
    public ImportanceInputs Read(Grouping.Panel panel, TensorPanel global, Scratch scratch, bool withMomentum = true) => new(
        global, Local!.Read(panel.Start, panel.Length, scratch),
        withMomentum && Momentum is not null ? Momentum.Read(panel.Start, panel.Length, scratch) : default,
        _momentumRule, run.Options.Beta);

    /// <summary>Reads a panel of the received model.</summary>
    public TensorPanel ReadGlobal(Grouping.Panel panel, Scratch scratch) => Global!.Read(panel.Start, panel.Length, scratch);
}
