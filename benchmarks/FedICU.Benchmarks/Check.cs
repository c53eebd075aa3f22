using System.Globalization;

namespace FedICU.Benchmarks;

/// <summary>
/// Whether a change has cost speed, told in half a minute on any machine: ratios of one run's least times, memory, reads. Ratios and memory may be
/// twice what they were when the bounds were set; no time is compared with another machine's.
/// </summary>
internal static class Check
{
    public static int Run(string artifacts)
    {
        using var suite = new Suite(artifacts, quick: true);
        suite.MeasureForCheck();
        var figures = new Figures(suite.Rows);
        Row Of(DType dtype, string contender) => figures.Find(Suite.CheckLayout.Name, dtype, 10, contender)!;
        double Ratio(Row of, Row to) => of.Min / to.Min;
        int missed = 0;
        foreach ((string what, double value, double most) in Bounds())
        {
            bool holds = value <= most;
            missed += holds ? 0 : 1;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{(holds ? "ok    " : "MISSED")} {what}: {value:0.##}, at most {most:0.##}"));
        }

        return missed == 0 ? 0 : 1;

        IEnumerable<(string What, double Value, double Most)> Bounds()
        {
            Row fedAvg = Of(DType.F32, Names.FedAvg), fedIcu = Of(DType.F32, Names.FedIcu);
            yield return ("FedAvg's time / the plain one-thread loop's", Ratio(fedAvg, Of(DType.F32, Names.Loop)), 0.67);
            yield return ("FedAvg's time / that at the read ceiling", 1 / figures.ShareOfCeiling(fedAvg), 3);
            yield return ("FedICU's time / FedAvg's", Ratio(fedIcu, fedAvg), 10);
            yield return ("bf16: FedAvg's time / that of f32", Ratio(Of(DType.BF16, Names.FedAvg), fedAvg), 2);
            yield return ("bf16: FedICU's time / FedAvg's", Ratio(Of(DType.BF16, Names.FedIcu), Of(DType.BF16, Names.FedAvg)), 12);
            yield return ("FedProx's time / FedAvg's", Ratio(Of(DType.F32, Names.FedProx), fedAvg), 2);
            // each thread that makes small tensors has a context of its own, whatever their number
            int threads = Environment.ProcessorCount;
            yield return ("KB that FedAvg allocates in a round of 448 tensors", fedAvg.AllocatedBytes!.Value / 1024.0, 40 + 20 * threads);
            yield return ("KB that FedICU allocates in a round of 448 tensors", fedIcu.AllocatedBytes!.Value / 1024.0, 310 + 20 * threads);
            yield return ("bytes that FedAvg allocates per further tensor", figures.PerTensor(Names.FedAvg)!.Value.Bytes, 40 * threads);
            yield return ("bytes that FedICU allocates per further tensor", figures.PerTensor(Names.FedIcu)!.Value.Bytes, 580 + 40 * threads);

            // small tensors are kept between looks, and read once; of large ones each look reads
            foreach ((Layout layout, int looks) in new[] { (Layout.Lora(8), 1), (Layout.Matrix(4096, 4096), 2) })
            {
                foreach ((string what, double reads) in ReadCounts.Of(layout))
                    yield return ($"reads: {what}", reads, what.StartsWith(Names.FedAvg, StringComparison.Ordinal) ? 1 : what.StartsWith(Names.FedIcu, StringComparison.Ordinal) ? looks : 2);
            }
        }
    }
}
