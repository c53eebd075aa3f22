using OxyPlot;
using OxyPlot.Annotations;
using OxyPlot.Axes;
using OxyPlot.Series;

namespace FedICU.Benchmarks;

/// <summary>
/// Plots FedAvg, FedICU and the peers against the speed of the memory, for the layouts that have marks.
/// </summary>
internal static class Plot
{
    private const string Font = "Arial";

    public static void Save(Figures figures, string path)
    {
        string[] contenders = [.. Names.Peers.Reverse(), Names.TorchFedIcu, Names.FedIcu, Names.FedAvg];
        string[] layouts =
            [.. figures.LayoutsWithMarks.Where(layout => Names.Peers.Any(peer => figures.Find(layout, DType.F32, 10, peer) is not null))];
        contenders = [.. contenders.Where(name => layouts.Any(layout => figures.Find(layout, DType.F32, 10, name) is not null))];
        if (layouts.Length == 0)
            return;
        var model = new PlotModel
        {
            Title = $"A round of 10 clients, f32, {Environment.ProcessorCount} cores: GB/s over the bytes that must move",
            DefaultFont = Font,
            TitleFontSize = 14,
            Background = OxyColors.White,
            PlotAreaBorderThickness = new OxyThickness(0),
            // a viewer's font is wider than the exporter assumes
            Padding = new OxyThickness(16, 20, 24, 8),
            PlotMargins = new OxyThickness(200, double.NaN, double.NaN, double.NaN),
        };
        var names = new CategoryAxis
        {
            Position = AxisPosition.Left,
            FontSize = 12,
            GapWidth = 0.5,
            TickStyle = TickStyle.None,
            AxislineStyle = LineStyle.Solid,
            AxislineColor = OxyColors.Gray,
        };
        names.Labels.AddRange(contenders);
        model.Axes.Add(names);
        var speeds = new LinearAxis
        {
            Position = AxisPosition.Bottom,
            Minimum = 0,
            MajorGridlineStyle = LineStyle.Solid,
            MajorGridlineColor = OxyColor.FromRgb(230, 230, 230),
            TickStyle = TickStyle.None,
            FontSize = 12,
        };
        model.Axes.Add(speeds);
        double most = 0;
        OxyColor[] colors = [OxyColor.FromRgb(0x1F, 0x6F, 0xB4), OxyColor.FromRgb(0xD9, 0x7B, 0x16)];
        foreach ((int i, string layout) in layouts.Index().Reverse())
        {
            var bars = new BarSeries
            {
                FillColor = colors[i % 2],
                LabelPlacement = LabelPlacement.Outside,
                LabelFormatString = "{0:0.0}",
                LabelMargin = 6,
                FontSize = 10.5,
            };
            for (int at = 0; at < contenders.Length; at++)
            {
                if (figures.Find(layout, DType.F32, 10, contenders[at]) is { } row)
                    bars.Items.Add(new BarItem(row.GigabytesPerSecond, at));
            }

            model.Series.Add(bars);
            double ceiling = figures.Ceiling(layout, DType.F32)!.GigabytesPerSecond;
            most = Math.Max(most, ceiling);
            model.Annotations.Add(new LineAnnotation
            {
                Type = LineAnnotationType.Vertical,
                X = ceiling,
                Color = colors[i % 2],
                LineStyle = LineStyle.Dash,
                StrokeThickness = 1.5,
            });
            // drawn here, because the exporter truncates its own legend if the viewer's font is wider
            model.Annotations.Add(new TextAnnotation
            {
                Text = $"\u25A0 {layout}; dashed: its read ceiling, {ceiling:0.0} GB/s",
                TextColor = colors[i % 2],
                TextPosition = new DataPoint(ceiling * 0.2, Math.Max(0, Array.IndexOf(contenders, Names.Linq)) + 0.3 - 0.6 * i),
                TextHorizontalAlignment = HorizontalAlignment.Left,
                TextVerticalAlignment = VerticalAlignment.Middle,
                FontSize = 12,
                Background = OxyColors.White,
                StrokeThickness = 0,
            });
        }

        speeds.Maximum = most * 1.1;
        using FileStream file = File.Create(path);
        new SvgExporter { Width = 760, Height = 110 + contenders.Length * 36, UseVerticalTextAlignmentWorkaround = true }
            .Export(model, file);
    }
}
