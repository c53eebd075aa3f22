using System.Globalization;

namespace FedICU.Benchmarks;

/// <summary>
/// Checks in half a minute, on any machine, whether a change has cost speed. It compares ratios of one run's shortest
/// times, allocated memory and read counts with bounds. The bounds allow twice the ratios and the memory measured when
/// they were set. No time is compared with another machine's time.
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
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture, $"{(holds ? "ok    " : "MISSED")} {what}: {value:0.##}, at most {most:0.##}"));
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
            // each thread that computes small tensors has its own context, so the memory grows with the threads
            int threads = Environment.ProcessorCount;
            yield return ("KB that FedAvg allocates in a round of 448 tensors", fedAvg.AllocatedBytes!.Value / 1024.0, 40 + 20 * threads);
            yield return ("KB that FedICU allocates in a round of 448 tensors", fedIcu.AllocatedBytes!.Value / 1024.0, 310 + 20 * threads);
            double fedAvgBytes = figures.PerTensor(Names.FedAvg)!.Value.Bytes, fedIcuBytes = figures.PerTensor(Names.FedIcu)!.Value.Bytes;
            yield return ("bytes that FedAvg allocates per further tensor", fedAvgBytes, 40 * threads);
            yield return ("bytes that FedICU allocates per further tensor", fedIcuBytes, 580 + 40 * threads);

            // FedICU keeps small tensors between its passes and reads them once; large tensors are read in each pass
            foreach ((Layout layout, int fedIcuReads) in new[] { (Layout.Lora(8), 1), (Layout.Matrix(4096, 4096), 2) })
            {
                foreach ((string what, double reads) in ReadCounts.Of(layout))
                    yield return ($"reads: {what}", reads, AllowedReads(what, fedIcuReads));
            }
        }
    }

    private static int AllowedReads(string what, int fedIcuReads)
    {
        if (what.StartsWith(Names.FedAvg, StringComparison.Ordinal))
            return 1;
        return what.StartsWith(Names.FedIcu, StringComparison.Ordinal) ? fedIcuReads : 2;
    }
}
