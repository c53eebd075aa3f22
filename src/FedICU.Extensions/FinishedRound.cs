namespace FedICU.Extensions;

/// <summary>A round that ended in a model.</summary>
/// <param name="Number">The number of the round.</param>
/// <param name="Clients">The number of clients that had sent an update.</param>
/// <param name="Included">The number of clients that took part.</param>
/// <param name="ReportPath">The file of the report, which <see cref="RoundReport.FromJson"/> reads.</param>
public sealed record FinishedRound(long Number, int Clients, int Included, string ReportPath);
