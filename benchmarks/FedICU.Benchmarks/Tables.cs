using System.Globalization;
using System.Text;

namespace FedICU.Benchmarks;

/// <summary>Writes the figures as Markdown.</summary>
internal static class Tables
{
    public static string Write(Figures figures)
    {
        var text = new StringBuilder();
        int runs = figures.Runs;
        int vectorBits = System.Runtime.Intrinsics.Vector512.IsHardwareAccelerated ? 512 : System.Numerics.Vector<byte>.Count * 8;
        double memory = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 1e9;
        string times = runs == 1 ? "those of a run's rounds" : $"the medians of {runs} runs";
        text.Append(Invariant($"{Environment.ProcessorCount} cores, {memory:0} GB, .NET {Environment.Version}, "))
            .AppendLine(Invariant($"vectors of up to {vectorBits} bits. Times are {times}, minimum-median-maximum."));
        Ceilings(figures, text);
        Grid(figures, text);
        foreach (var round in figures.Rounds.Where(round => round.Count() > 2))
            Contenders(figures, round, text);
        Marks(figures, text);
        return text.ToString();
    }

    private static void Ceilings(Figures figures, StringBuilder text)
    {
        int all = Environment.ProcessorCount;
        text.AppendLine().AppendLine("### The memory").AppendLine()
            .AppendLine("GB/s of the fastest variant; results.json has all variants.").AppendLine()
            .AppendLine(Invariant($"| | read, 1 thread | read, {all} | copy, 1 thread | copy, {all} | the fastest read |"))
            .AppendLine("|---|--:|--:|--:|--:|---|");
        foreach (var group in figures.Ceilings)
        {
            Row first = group.First();
            string fastest = figures.Ceiling(first.Layout, first.DType)?.Contender.Split(", threads")[0] ?? "";
            text.AppendLine($"| {group.Key} | {Of("read", 1)} | {Of("read", all)} | {Of("copy", 1)} | {Of("copy", all)} | {fastest} |");

            string Of(string what, int threads) =>
                Invariant($"{figures.Ceiling(first.Layout, first.DType, what, threads)?.GigabytesPerSecond:0.0}");
        }
    }

    private static void Grid(Figures figures, StringBuilder text)
    {
        text.AppendLine().AppendLine("### FedAvg and FedICU").AppendLine()
            .Append("| | clients | FedAvg ms | GB/s | of the ceiling | FedICU ms | GB/s | FedICU / FedAvg ")
            .AppendLine("| allocated KB, FedAvg | FedICU |")
            .AppendLine("|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
        foreach (var round in figures.Rounds)
        {
            if (figures.Find(round.Key.Layout, round.Key.DType, round.Key.Clients, Names.FedAvg) is not { } fedAvg
                || figures.Find(round.Key.Layout, round.Key.DType, round.Key.Clients, Names.FedIcu) is not { } fedIcu)
                continue;
            string memory = fedAvg.ModelsInMemory < fedAvg.Clients ? $" ({fedAvg.ModelsInMemory} in memory)" : "";
            text.Append(Invariant($"| {fedAvg.Case} | {fedAvg.Clients}{memory} | {Times(fedAvg)} | {fedAvg.GigabytesPerSecond:0.0} "))
                .Append(Invariant($"| {figures.ShareOfCeiling(fedAvg):P0} | {Times(fedIcu)} | {fedIcu.GigabytesPerSecond:0.0} "))
                .Append(Invariant($"| {fedIcu.Median / fedAvg.Median:0.00} | {fedAvg.AllocatedBytes / 1024.0:0} "))
                .AppendLine(Invariant($"| {fedIcu.AllocatedBytes / 1024.0:0} |"));
        }
    }

    private static void Contenders(Figures figures, IGrouping<(string Layout, DType DType, int Clients), Row> round, StringBuilder text)
    {
        Row? fedAvg = round.FirstOrDefault(row => row.Contender == Names.FedAvg);
        Row? fedIcu = round.FirstOrDefault(row => row.Contender == Names.FedIcu);
        text.AppendLine().AppendLine(Invariant($"### {round.First().Case}, {round.Key.Clients} clients")).AppendLine()
            .AppendLine("| | ms | GB/s | of the ceiling | times FedAvg's time | times FedICU's | allocated KB | |")
            .AppendLine("|---|--:|--:|--:|--:|--:|--:|---|");
        foreach (Row row in round)
        {
            if (row.Runs.Count == 0)
            {
                text.AppendLine($"| {row.Contender} | | | | | | | {row.Note} |");
                continue;
            }

            text.Append(Invariant($"| {row.Contender} | {Times(row)} | {row.GigabytesPerSecond:0.0} | {figures.ShareOfCeiling(row):P0} "))
                .Append(Invariant($"| {row.Median / fedAvg?.Median:0.00} | {row.Median / fedIcu?.Median:0.00} "))
                .AppendLine(Invariant($"| {row.AllocatedBytes / 1024.0:0} | {row.Note} |"));
        }
    }

    private static void Marks(Figures figures, StringBuilder text)
    {
        text.AppendLine().AppendLine("### Marks").AppendLine().AppendLine("| | measured | mark | |").AppendLine("|---|--:|--:|---|");
        foreach ((string what, double value, double mark, bool holds) in figures.Marks())
            text.AppendLine(Invariant($"| {what} | {value:0.00} | {mark:0.00} | {(holds ? "holds" : "missed")} |"));
    }

    private static string Times(Row row) => row.Median < 10
        ? Invariant($"{row.Min:0.00}-{row.Median:0.00}-{row.Max:0.00}")
        : Invariant($"{row.Min:0}-{row.Median:0}-{row.Max:0}");

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
