namespace FedICU.Reports;

/// <summary>
/// The numbers of a round that a report states by tensor only: norms and cosines of the clients' whole updates, over
/// the tensors that have statistics. Null where the report has none.
/// </summary>
internal sealed class RoundSummary
{
    /// <summary>Measures a report; index is its place among the reports.</summary>
    public RoundSummary(RoundReport report, int index)
    {
        Report = report;
        Label = report.Round is { } round ? $"{round}" : $"#{index + 1}";
        if (report.IsPrivate)
            return;
        // damaged reports may name a client twice
        foreach (ClientReport client in report.Clients)
            Rows.TryAdd(client.Id, Rows.Count);
        Columns = [.. report.Tensors.Where(tensor => tensor.Clients.Count > 0)];
        double[] shares = new double[Rows.Count];
        foreach (ClientReport client in report.Clients)
            shares[Rows[client.Id]] = client.Share;
        Measure(shares);
    }

    public RoundReport Report { get; }

    /// <summary>Gets the round's number, or its place if the report states none.</summary>
    public string Label { get; }

    /// <summary>Gets the row of each client; empty for a private round.</summary>
    public Dictionary<string, int> Rows { get; } = new(StringComparer.Ordinal);

    /// <summary>Gets the tensors that have numbers of clients; empty for a private round.</summary>
    public IReadOnlyList<TensorReport> Columns { get; } = [];

    /// <summary>Gets the norm of each client's whole update, by row; NaN if it was not measured.</summary>
    public double[] UpdateNorms { get; private set; } = [];

    /// <summary>
    /// Gets the cosine of each client's whole update to the mean update, by row; NaN if it was not measured.
    /// </summary>
    public double[] Cosines { get; private set; } = [];

    /// <summary>Gets the norm of the weighted mean update; NaN if it was not measured.</summary>
    public double NormOfMean { get; private set; } = double.NaN;

    /// <summary>Gets the mean norm of the clients' updates; NaN if none was measured.</summary>
    public double MeanUpdateNorm { get; private set; } = double.NaN;

    private void Measure(double[] shares)
    {
        double[] squares = new double[Rows.Count], dots = new double[Rows.Count];
        bool[] isMeasured = new bool[Rows.Count];
        double meanSquare = 0;
        foreach (TensorReport tensor in Columns)
        {
            // with m = sum_k p_k u_k and cos_k = <u_k, m> / (|u_k| |m|), the norm |m| is sum_k p_k cos_k |u_k|
            double meanNorm = 0;
            foreach (TensorClientReport part in tensor.Clients)
            {
                if (Rows.TryGetValue(part.Id, out int row))
                    meanNorm += shares[row] * (part.Cosine ?? 0) * (part.UpdateNorm ?? 0);
            }

            meanNorm = Math.Max(meanNorm, 0);
            meanSquare += meanNorm * meanNorm;
            foreach (TensorClientReport part in tensor.Clients)
            {
                if (part.UpdateNorm is not { } norm || !Rows.TryGetValue(part.Id, out int row))
                    continue;
                isMeasured[row] = true;
                squares[row] += norm * norm;
                dots[row] += (part.Cosine ?? 0) * norm * meanNorm;
            }
        }

        double norm2 = Math.Sqrt(meanSquare);
        UpdateNorms = [.. squares.Select((square, row) => isMeasured[row] ? Math.Sqrt(square) : double.NaN)];
        Cosines =
        [
            .. dots.Select((dot, row) => !isMeasured[row] ? double.NaN
                : UpdateNorms[row] > 0 && norm2 > 0 ? Math.Clamp(dot / (UpdateNorms[row] * norm2), -1, 1) : 0),
        ];
        if (!isMeasured.Contains(true))
            return;
        NormOfMean = norm2;
        MeanUpdateNorm = UpdateNorms.Where(norm => !double.IsNaN(norm)).Average();
    }
}
