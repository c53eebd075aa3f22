using OxyPlot;
using OxyPlot.Annotations;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;

namespace FedICU.Experiments;

/// <summary>Draws learning curves, and the domains' gain against what is forgotten and what is sent.</summary>
internal static class Plots
{
    private const string Font = "Arial";

    // the methods that the documents discuss; all others are grey dots
    private static readonly (string Method, OxyColor Color, MarkerType Marker)[] Shown =
    [
        ("fedavg", OxyColor.FromRgb(0x1F, 0x6F, 0xB4), MarkerType.Circle),
        ("fedprox-0.01", OxyColor.FromRgb(0x12, 0x8F, 0x9B), MarkerType.Circle),
        ("fedicu", OxyColor.FromRgb(0xB0, 0x3A, 0x48), MarkerType.Square),
        ("split", OxyColor.FromRgb(0xD9, 0x7B, 0x16), MarkerType.Square),
        ("mask", OxyColor.FromRgb(0x9B, 0x80, 0x12), MarkerType.Square),
        ("mask-now", OxyColor.FromRgb(0x9B, 0x80, 0x12), MarkerType.Triangle),
        ("coherent", OxyColor.FromRgb(0x7B, 0x5A, 0xA6), MarkerType.Diamond),
        ("coherent-mask", OxyColor.FromRgb(0x7B, 0x5A, 0xA6), MarkerType.Triangle),
        ("balanced", OxyColor.FromRgb(0x2C, 0x8C, 0x4A), MarkerType.Circle),
        ("balanced-mask", OxyColor.FromRgb(0x2C, 0x8C, 0x4A), MarkerType.Triangle),
        ("balanced-coherent", OxyColor.FromRgb(0x2C, 0x8C, 0x4A), MarkerType.Diamond),
        ("balanced-coherent-mask", OxyColor.FromRgb(0x2C, 0x8C, 0x4A), MarkerType.Star),
        ("flexlora", OxyColor.FromRgb(0x3A, 0x3A, 0x3A), MarkerType.Diamond),
        ("flora", OxyColor.FromRgb(0x2C, 0x8C, 0x4A), MarkerType.Square),
        ("fedex-lora", OxyColor.FromRgb(0x12, 0x8F, 0x9B), MarkerType.Square),
        ("ffa-lora", OxyColor.FromRgb(0xB0, 0x3A, 0x48), MarkerType.Triangle),
        ("hetlora", OxyColor.FromRgb(0xD9, 0x7B, 0x16), MarkerType.Diamond),
        ("fedavg-rank-2", OxyColor.FromRgb(0x7B, 0x5A, 0xA6), MarkerType.Circle),
        ("fedavg-rank-16", OxyColor.FromRgb(0x7B, 0x5A, 0xA6), MarkerType.Triangle),
    ];

    private static readonly string[] Curves =
    [
        "fedavg", "fedicu", "split", "mask-now", "coherent", "balanced", "balanced-coherent", "balanced-coherent-mask",
        .. RuleMethods.Lora.Select(method => method.Name),
    ];

    /// <summary>Draws and saves the plots.</summary>
    /// <param name="summary">The results.</param>
    /// <param name="path">The path of the files, with the beginning of their names.</param>
    public static void Save(Summary summary, string path)
    {
        string title = $"{summary.Corpus}, {summary.Scenario.Does}";
        PlotModel curves = Model(title, "after round", "bits per byte of the domains");
        (string, OxyColor, MarkerType)[] lines =
        [
            ("local", OxyColors.Gray, MarkerType.None), ("central", OxyColors.Black, MarkerType.None),
            .. Shown.Where(shown => Curves.Contains(shown.Method)),
        ];
        foreach ((string method, OxyColor color, MarkerType marker) in lines)
        {
            if (summary.Curve(method) is not { Count: > 1 } curve)
                continue;
            var line = new LineSeries
            {
                Title = method,
                Color = color,
                StrokeThickness = 1.5,
                MarkerType = marker,
                MarkerFill = color,
                MarkerStroke = color,
                MarkerStrokeThickness = marker == MarkerType.Star ? 1.5 : 0,
                MarkerSize = 3.5,
                LineStyle = marker == MarkerType.None ? LineStyle.Dash : LineStyle.Solid,
            };
            // without the base before the first round, whose value can be so large that it would hide all differences
            line.Points.AddRange(curve.Where(point => point.Round > 0).Select(point => new DataPoint(point.Round, point.Bits)));
            curves.Series.Add(line);
        }

        Write(curves, $"{path}-curves.svg");
        if (summary.Find("base") is not { } start)
            return;
        Scatter(summary, title, "forgotten, bits per byte of the general text", Forgotten, Gain, dial: true, $"{path}-forgetting.svg");
        Scatter(
            summary, title, "sent by all clients, MB", method => method.SentBytes.Average() / 1e6, Gain, dial: false, $"{path}-upload.svg");

        double Forgotten(MethodSummary method) => method.General.Average() - start.General.Average();

        double Gain(MethodSummary method) => start.Domain.Average() - method.Domain.Average();
    }

    private static void Scatter(
        Summary summary, string title, string across, Func<MethodSummary, double> x, Func<MethodSummary, double> y, bool dial, string path)
    {
        PlotModel plot = Model(title, across, "gained, bits per byte of the domains");
        MethodSummary[] methods = [.. summary.Federated.Where(method => double.IsFinite(y(method)))];
        Fit(plot.Axes[1], y);
        if (dial)
            Fit(plot.Axes[0], x);
        else
            plot.Axes[0].Minimum = 0;
        var others = new ScatterSeries
        {
            MarkerType = MarkerType.Circle,
            MarkerSize = 2.5,
            MarkerFill = OxyColor.FromRgb(0xBB, 0xBB, 0xBB),
            Title = "others",
        };
        others.Points.AddRange(methods.Where(method => !IsShown(method)).Select(method => new ScatterPoint(x(method), y(method))));
        plot.Series.Add(others);
        if (dial)
        {
            var steps = new LineSeries { Color = Shown[0].Color, StrokeThickness = 1, Title = "FedAvg by server step" };
            foreach (MethodSummary method in summary.Dial)
            {
                steps.Points.Add(new DataPoint(x(method), y(method)));
                if (steps.Points[^1].X < plot.Axes[0].Minimum || steps.Points[^1].Y < plot.Axes[1].Minimum)
                    continue;
                plot.Annotations.Add(new TextAnnotation
                {
                    Text = method.Method.Kind == MethodKind.Base
                        ? "0"
                        : method.Method.Step.ToString(System.Globalization.CultureInfo.InvariantCulture),
                    TextPosition = steps.Points[^1],
                    Offset = new ScreenVector(7, 14),
                    TextColor = Shown[0].Color,
                    FontSize = 10,
                    StrokeThickness = 0,
                });
            }

            plot.Series.Add(steps);
        }

        var front = new LineSeries { Color = OxyColors.Gray, StrokeThickness = 1, LineStyle = LineStyle.Dot, Title = "front of the two" };
        front.Points.AddRange(Summary.Front(methods, x, method => -y(method)).OrderBy(x)
            .Select(method => new DataPoint(x(method), y(method))));
        plot.Series.Add(front);
        foreach ((string name, OxyColor color, MarkerType marker) in Shown)
        {
            if (methods.FirstOrDefault(method => method.Method.Name == name) is not { } found)
                continue;
            var point = new ScatterSeries
            {
                Title = name,
                MarkerType = marker,
                MarkerSize = 5,
                MarkerFill = color,
                MarkerStroke = color,
                // a star consists only of lines
                MarkerStrokeThickness = marker == MarkerType.Star ? 2 : 0,
            };
            point.Points.Add(new ScatterPoint(x(found), y(found)));
            plot.Series.Add(point);
        }

        Write(plot, path);

        // scales an axis so that the discussed methods fill the plot
        void Fit(Axis axis, Func<MethodSummary, double> figure)
        {
            double[] values = [.. methods.Where(IsShown).Select(figure)];
            double range = values.Length == 0 ? 0 : values.Max() - values.Min();
            if (range > 0)
                (axis.Minimum, axis.Maximum) = (values.Min() - 0.6 * range, values.Max() + 0.2 * range);
        }
    }

    private static bool IsShown(MethodSummary summary) => Shown.Any(shown => shown.Method == summary.Method.Name);

    /// <summary>Creates an empty plot with two axes, the lower one first.</summary>
    internal static PlotModel Model(string title, string across, string up)
    {
        var model = new PlotModel
        {
            Title = title,
            DefaultFont = Font,
            TitleFontSize = 14,
            Background = OxyColors.White,
            Padding = new OxyThickness(20, 16, 16, 16),
        };
        model.Legends.Add(new Legend
        {
            LegendPosition = LegendPosition.RightTop,
            LegendPlacement = LegendPlacement.Outside,
            LegendFontSize = 11,
            LegendLineSpacing = 4,
        });
        model.Axes.Add(CreateAxis(AxisPosition.Bottom, across));
        model.Axes.Add(CreateAxis(AxisPosition.Left, up));
        return model;
    }

    internal static LinearAxis CreateAxis(AxisPosition position, string title) => new()
    {
        Position = position,
        Title = title,
        FontSize = 12,
        AxisTitleDistance = 12,
        MajorGridlineStyle = LineStyle.Solid,
        MajorGridlineColor = OxyColor.FromRgb(230, 230, 230),
        TickStyle = TickStyle.None,
        MinimumPadding = 0.08,
        MaximumPadding = 0.12,
    };

    internal static void Write(PlotModel model, string path)
    {
        using FileStream file = File.Create(path);
        new SvgExporter { Width = 900, Height = 480, UseVerticalTextAlignmentWorkaround = true, TextMeasurer = new WideText() }
            .Export(model, file);
    }

    /// <summary>Measures text wider than it is, to leave room for the fonts of machines without Arial.</summary>
    private sealed class WideText() : PdfRenderContext(0, 0, OxyColors.White)
    {
        public override OxySize MeasureText(string text, string fontFamily, double fontSize, double fontWeight)
        {
            OxySize size = base.MeasureText(text, fontFamily, fontSize, fontWeight);
            return new OxySize(1.5 * size.Width, 1.1 * size.Height);
        }
    }
}
