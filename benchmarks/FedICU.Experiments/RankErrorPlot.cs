using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Series;

namespace FedICU.Experiments;

/// <summary>Draws errors by rank: a panel for each folder of adapters, a line for each module.</summary>
internal static class RankErrorPlot
{
    private static readonly OxyColor[] Colors =
        [OxyColor.FromRgb(0x1F, 0x6F, 0xB4), OxyColor.FromRgb(0xD9, 0x7B, 0x16), OxyColor.FromRgb(0x2C, 0x8C, 0x4A)];

    // the share of a panel's width that stays free beside it; chosen
    private const double Gap = 0.08;

    /// <summary>Draws and saves the plot.</summary>
    public static void Save(IReadOnlyList<RankErrors> panels, string path)
    {
        PlotModel plot = Plots.Model("What is lost of the clients' mean product", "", "norm(W - s B A) / norm(W)");
        plot.PlotAreaBorderThickness = new OxyThickness(0);
        // each panel has a lower axis of its own
        plot.Axes.RemoveAt(0);
        (plot.Axes[0].Minimum, plot.Axes[0].Maximum, plot.Axes[0].StringFormat) = (0, 1, "0 %");
        foreach ((int i, RankErrors errors) in panels.Index())
        {
            LinearAxis ranks = Plots.CreateAxis(AxisPosition.Bottom, $"rank ({errors.Name})");
            ranks.Key = errors.Name;
            (ranks.StartPosition, ranks.EndPosition) = ((i + Gap / 2) / panels.Count, (i + 1 - Gap / 2) / panels.Count);
            (ranks.Minimum, ranks.Maximum, ranks.MajorStep) = (0, errors.FlexLora.Count + 1, errors.Rank);
            plot.Axes.Add(ranks);
            foreach ((int module, string name) in errors.Modules.Index())
            {
                OxyColor color = Colors[module % Colors.Length];
                var line = new LineSeries
                {
                    XAxisKey = errors.Name,
                    Title = i == 0 ? $"flexlora, {name}" : null,
                    Color = color,
                    StrokeThickness = 2,
                };
                line.Points.AddRange(errors.FlexLora.Index().Select(of => new DataPoint(of.Index + 1, of.Item[module])));
                plot.Series.Add(line);
                plot.Series.Add(Point(errors, MarkerType.Circle, color, errors.FedAvg[module]));
                plot.Series.Add(Point(errors, MarkerType.Cross, color, errors.HetLora[module]));
            }
        }

        foreach ((string rule, MarkerType marker) in ((string, MarkerType)[])[("fedavg", MarkerType.Circle), ("hetlora", MarkerType.Cross)])
        {
            // for the legend alone
            ScatterSeries series = Point(panels[0], marker, OxyColors.Black, double.NaN);
            series.Title = $"{rule}, the same modules";
            plot.Series.Add(series);
        }

        Plots.Write(plot, path);
    }

    private static ScatterSeries Point(RankErrors errors, MarkerType marker, OxyColor color, double error)
    {
        var series = new ScatterSeries
        {
            XAxisKey = errors.Name,
            MarkerType = marker,
            MarkerSize = 5,
            MarkerFill = OxyColors.Transparent,
            MarkerStroke = color,
            MarkerStrokeThickness = 2,
        };
        series.Points.Add(new ScatterPoint(errors.Rank, error));
        return series;
    }
}
