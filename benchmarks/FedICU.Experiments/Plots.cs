using OxyPlot;
using OxyPlot.Annotations;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;

namespace FedICU.Experiments;

/// <summary>Learning curves, and what domains gain against what is forgotten and what is sent.</summary>
internal static class Plots
{
    private const string Font = "Arial";

    private static readonly OxyColor[] Colors =
    [
        OxyColor.FromRgb(0x1F, 0x6F, 0xB4), OxyColor.FromRgb(0xD9, 0x7B, 0x16), OxyColor.FromRgb(0x2C, 0x8C, 0x4A), OxyColor.FromRgb(0xB0, 0x3A, 0x48),
        OxyColor.FromRgb(0x7B, 0x5A, 0xA6), OxyColor.FromRgb(0x6B, 0x6B, 0x6B), OxyColor.FromRgb(0x12, 0x8F, 0x9B), OxyColor.FromRgb(0x9B, 0x80, 0x12),
    ];

    private static readonly string[] Curves = ["local", "central", "fedavg", "fedavg-1.6", "fedicu", "split", "coherent-mask", "balanced"];

    public static void Save(Summary summary, string folder)
    {
        string name = $"{summary.Corpus}-{summary.Scenario.Name}";
        PlotModel curves = Model($"{summary.Corpus}, {summary.Scenario.Name}: the domains' mean after each round", "round", "bits per byte");
        curves.Legends.Add(new Legend { LegendPosition = LegendPosition.RightTop, LegendPlacement = LegendPlacement.Outside, LegendFontSize = 12 });
        foreach ((int i, string method) in Curves.Index())
        {
            if (summary.Curve(method) is not { Count: > 1 } curve)
                continue;
            var line = new LineSeries { Title = method, Color = Colors[i], StrokeThickness = 1.8, MarkerType = MarkerType.Circle, MarkerSize = 2.5, LineStyle = i < 2 ? LineStyle.Dash : LineStyle.Solid };
            line.Points.AddRange(curve.Select(point => new DataPoint(point.Round, point.Bits)));
            curves.Series.Add(line);
        }

        Write(curves, Path.Combine(folder, $"{name}-curves.svg"), 820);
        if (summary.Find("base") is not { } start)
            return;
        MethodSummary[] rounds = [.. summary.Federated];
        Scatter(rounds, summary.Dial, $"{summary.Corpus}, {summary.Scenario.Name}: gain and forgetting", "forgotten, bits per byte of general text", method => method.General.Average() - start.General.Average(), Gain, Path.Combine(folder, $"{name}-forgetting.svg"));
        Scatter(rounds, [], $"{summary.Corpus}, {summary.Scenario.Name}: gain and upload", "sent by all clients, MB", method => method.SentBytes.Average() / 1e6, Gain, Path.Combine(folder, $"{name}-upload.svg"));

        double Gain(MethodSummary method) => start.Domain.Average() - method.Domain.Average();
    }

    private static void Scatter(MethodSummary[] methods, IEnumerable<MethodSummary> dial, string title, string across, Func<MethodSummary, double> x, Func<MethodSummary, double> y, string path)
    {
        PlotModel plot = Model(title, across, "gained, bits per byte of the domains");
        string[] groups = [.. methods.Select(method => method.Method.Group).Distinct()];
        foreach ((int i, string group) in groups.Index())
        {
            var points = new ScatterSeries { MarkerType = MarkerType.Circle, MarkerSize = 4, MarkerFill = Colors[i], Title = group };
            points.Points.AddRange(methods.Where(method => method.Method.Group == group).Select(method => new ScatterPoint(x(method), y(method))));
            plot.Series.Add(points);
        }

        var steps = new LineSeries { Color = Colors[0], StrokeThickness = 1, Title = "FedAvg by step" };
        steps.Points.AddRange(dial.Select(method => new DataPoint(x(method), y(method))));
        plot.Series.Add(steps);
        var front = new LineSeries { Color = OxyColors.Gray, StrokeThickness = 1, LineStyle = LineStyle.Dot, Title = "front" };
        foreach (MethodSummary method in Summary.Front(methods, x, method => -y(method)).OrderBy(x))
        {
            front.Points.Add(new DataPoint(x(method), y(method)));
            plot.Annotations.Add(new TextAnnotation
            {
                Text = method.Method.Name,
                TextPosition = new DataPoint(x(method), y(method)),
                TextHorizontalAlignment = HorizontalAlignment.Left,
                TextVerticalAlignment = VerticalAlignment.Bottom,
                FontSize = 10.5,
                StrokeThickness = 0,
            });
        }

        plot.Series.Add(front);
        plot.Legends.Add(new Legend { LegendPosition = LegendPosition.RightTop, LegendPlacement = LegendPlacement.Outside, LegendFontSize = 12 });
        Write(plot, path, 820);
    }

    private static PlotModel Model(string title, string across, string up)
    {
        var model = new PlotModel { Title = title, DefaultFont = Font, TitleFontSize = 14, Background = OxyColors.White, Padding = new OxyThickness(12, 16, 24, 8) };
        foreach ((AxisPosition position, string text) in ((AxisPosition, string)[])[(AxisPosition.Bottom, across), (AxisPosition.Left, up)])
        {
            model.Axes.Add(new LinearAxis
            {
                Position = position,
                Title = text,
                FontSize = 12,
                MajorGridlineStyle = LineStyle.Solid,
                MajorGridlineColor = OxyColor.FromRgb(230, 230, 230),
                TickStyle = TickStyle.None,
                MinimumPadding = 0.08,
                MaximumPadding = 0.12,
            });
        }

        return model;
    }

    private static void Write(PlotModel model, string path, int width)
    {
        using FileStream file = File.Create(path);
        new SvgExporter { Width = width, Height = 460, UseVerticalTextAlignmentWorkaround = true }.Export(model, file);
    }
}
