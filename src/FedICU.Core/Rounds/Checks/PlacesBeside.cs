using FedICU.Files;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>
/// Checks the models that a rule writes beside the round's output: each has a place of its own, and replaces none that
/// the round reads.
/// </summary>
internal static class PlacesBeside
{
    /// <summary>Checks the places before anything is opened.</summary>
    /// <param name="round">The round.</param>
    /// <param name="output">The round's output; null if there is none.</param>
    /// <param name="merge">The rule.</param>
    /// <exception cref="RoundRejectedException">Two models have one place.</exception>
    public static void Check(AggregationRound round, TensorSink? output, PairMerge merge)
    {
        if (merge.OutputsBeside.Count == 0)
            return;
        // the real path of a folder is looked up once for all clients in it
        var folders = new Dictionary<string, string>(StringComparer.Ordinal);
        var taken = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach ((string option, string path) in merge.InputsBeside)
            Add(ModelFolder.ListFiles(path), option);
        if (output is not null)
            AddOutput("The output", output.ReplacedFiles(), "the output");
        Add(ModelFolder.ListFiles(round.Global.Location), "the global model");
        foreach (ClientUpdate update in round.Updates.Where(update => update.Path is not null))
            Add(ModelFolder.ListFiles(update.Path!), $"the update of client {Sentence.Quote(update.Id)}");
        foreach (string? state in (string?[])[round.State?.Path, round.State?.OutputPath])
        {
            if (state is not null)
                Add([state], "the state");
        }

        foreach ((string option, string path) in merge.OutputsBeside)
            AddOutput($"{option} {Sentence.Quote(path)}", ModelFolder.ListFiles(path), option);

        void Add(IEnumerable<string> files, string owner)
        {
            foreach (string file in files)
                taken.TryAdd(FilePlace.Real(file, folders), owner);
        }

        void AddOutput(string subject, IEnumerable<string> files, string owner)
        {
            string[] own = [.. files];
            foreach (string file in own)
            {
                if (taken.TryGetValue(FilePlace.Real(file, folders), out string? other))
                    throw RoundCheck.CreateRefusal($"{subject} would replace {other}; another place was expected.");
            }

            Add(own, owner);
        }
    }
}
