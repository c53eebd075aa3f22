namespace FedICU.Panels;

/// <summary>The runs of panels in ascending order; without runs of their own, each panel is one.</summary>
internal readonly struct PanelRuns(List<Grouping.Panel> panels, List<PanelRun>? runs)
{
    public int Count => runs?.Count ?? panels.Count;

    public PanelRun this[int i] => runs is null ? new PanelRun(panels, i, 1, panels[i].Length) : runs[i];
}
