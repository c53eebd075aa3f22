namespace FedICU.Panels;

/// <summary>The runs of panels in ascending order. If the runs are null, each panel is a run.</summary>
internal readonly struct PanelRuns(List<Grouping.Panel> panels, List<PanelRun>? runs)
{
    public int Count => runs?.Count ?? panels.Count;

    public PanelRun this[int i] => runs is null ? new PanelRun(panels, i, 1, panels[i].Length) : runs[i];
}
