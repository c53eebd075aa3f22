using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>
/// The pairs of one attempt of a round whose merge sees pairs: which are merged, and what is written.
/// </summary>
/// <param name="pairs">The global model's pairs.</param>
/// <param name="merge">The merge.</param>
/// <param name="dropped">Tensors that keep the global model's values.</param>
internal sealed class PairRound(RoundPairs pairs, PairMerge merge, IReadOnlyDictionary<string, string> dropped)
{
    private readonly Dictionary<string, TensorInfo> _outputs = new(StringComparer.Ordinal);
    private PairForm[] _written = [];

    public PairMerge Merge => merge;

    /// <summary>The numbers of the pairs that are merged, among <see cref="RoundPairs.All"/>.</summary>
    public int[] Merged { get; } =
        [.. Enumerable.Range(0, pairs.All.Count).Where(i => !dropped.ContainsKey(pairs.All[i].A.Name))];

    public IReadOnlyList<LoraPair> All => pairs.All;

    /// <summary>The configuration of the round's adapters; null if there is none.</summary>
    public PeftAdapterConfig? RoundConfig => pairs.Config;

    /// <summary>The output's configuration; null if the global model's stays, or if there is none.</summary>
    public PeftAdapterConfig? Config { get; private set; }

    /// <summary>Widens a set of tensors that keep the global model's values to whole pairs.</summary>
    public static void KeepWholePairs(RoundPairs pairs, Dictionary<string, string> dropped)
    {
        foreach (LoraPair pair in pairs.All)
        {
            TensorInfo?[] tensors = [pair.A, pair.B, pair.Alpha];
            TensorInfo? kept = tensors.FirstOrDefault(tensor => tensor is not null && dropped.ContainsKey(tensor.Name));
            if (kept is null)
                continue;
            foreach (TensorInfo tensor in tensors.OfType<TensorInfo>())
                dropped.TryAdd(tensor.Name, $"{Sentence.Quote(kept.Name)} of the same LoRA pair keeps the global model's values.");
        }
    }

    /// <summary>Decides what is written, once the clients of the merge are known.</summary>
    public void Decide(IReadOnlyList<Participant> participants, RoundOptions options)
    {
        HashSet<int> merged = [.. Merged];
        _written = new PairForm[pairs.All.Count];
        for (int i = 0; i < _written.Length; i++)
        {
            LoraPair pair = pairs.All[i];
            if (!merged.Contains(i))
            {
                _written[i] = pairs.GetKept(pair);
                continue;
            }

            _written[i] = pairs.GetWritten(pair, [.. participants.Select(participant => participant.PairForms[i].Rank)]);
            pairs.Require(pair, _written[i].Rank, "the rank that is written");
            RequireAlpha(pair, _written[i].Alpha, options);
            (TensorInfo a, TensorInfo b) = pair.WithRank(_written[i].Rank);
            (_outputs[a.Name], _outputs[b.Name]) = (RoundPlanner.GetOutput(a, options), RoundPlanner.GetOutput(b, options));
        }

        Config = pairs.CreateConfig(_written);
    }

    private void RequireAlpha(LoraPair pair, double alpha, RoundOptions options)
    {
        if (pair.Alpha is null || RoundPlanner.GetOutput(pair.Alpha, options) is var written && LoraAlphas.CanHold(written.DType, alpha))
            return;
        string tensor = Sentence.Quote(pair.Alpha.Name), type = written.DType.SafetensorsName;
        throw RoundCheck.CreateRefusal(double.IsNaN(alpha)
            ? $"The global model's {tensor} has the type {type}, which is not read as a number; a float type, I32 or I64 was expected."
            : $"{Sentence.Quote(merge.Name)} would write {Numbers.Invariant(alpha)} to {tensor}, whose type {type} cannot hold it; " +
                "a type that holds it was expected.");
    }

    /// <summary>Returns the output of a factor; null if the tensor is none.</summary>
    public TensorInfo? FindOutput(string tensor) => _outputs.GetValueOrDefault(tensor);

    /// <summary>Returns what is written of a pair; its own rank and scaling before that is decided.</summary>
    public PairForm GetWritten(int pair) => _written.Length > 0 ? _written[pair] : pairs.GetKept(pairs.All[pair]);
}
