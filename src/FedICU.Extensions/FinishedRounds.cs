using FedICU.Files;

namespace FedICU.Extensions;

/// <summary>
/// The newest rounds that ended in a model. A report is read when a round is asked for first, so that a start reads
/// none. Thread-safe.
/// </summary>
/// <param name="folders">The folders of the rounds.</param>
/// <param name="most">The most rounds that are listed.</param>
/// <param name="logDamaged">Receives a round whose report cannot be read, and why.</param>
internal sealed class FinishedRounds(RoundFolders folders, int most, Action<long, string> logDamaged)
{
    private readonly Lock _gate = new();

    // null: not read yet
    private readonly SortedDictionary<long, FinishedRound?> _rounds = [];

    /// <summary>Finds the rounds before the current one that have a report.</summary>
    public void Restore(long current)
    {
        lock (_gate)
        {
            IEnumerable<long> newest = folders.List().Reverse().Where(round => round < current && folders.FindReport(round) is not null);
            foreach (long round in newest.Take(most))
                _rounds.Add(round, null);
        }
    }

    public void Add(long round, RoundReport report)
    {
        lock (_gate)
        {
            _rounds[round] = Describe(round, report);
            while (_rounds.Count > most)
                _rounds.Remove(_rounds.First().Key);
        }
    }

    /// <summary>Lists the rounds in ascending order, without those whose report cannot be read.</summary>
    public IReadOnlyList<FinishedRound> List()
    {
        lock (_gate)
        {
            foreach (long round in _rounds.Where(round => round.Value is null).Select(round => round.Key).ToArray())
            {
                try
                {
                    _rounds[round] = Describe(round, RoundReport.FromJson(File.ReadAllText(folders.ReportOf(round))));
                }
                catch (Exception e) when (e is FedIcuException || ModelFile.IsFileError(e))
                {
                    // an old report is no reason to stop the rounds
                    _rounds.Remove(round);
                    logDamaged(round, e.Message);
                }
            }

            return [.. _rounds.Values.OfType<FinishedRound>()];
        }
    }

    private FinishedRound Describe(long round, RoundReport report) =>
        new(round, report.Clients.Count, report.Clients.Count(client => client.Included), folders.ReportOf(round));
}
