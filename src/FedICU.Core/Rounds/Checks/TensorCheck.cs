using FedICU.Model;
using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>Checks a client's tensors against the global model's: names, shapes, types and quantization.</summary>
internal sealed class TensorCheck(
    RoundCheck check, AggregationRound round, TensorNames names, MergeRule? merge, PairCheck? pairs)
{
    private readonly RoundOptions _options = round.Options;
    private readonly Dictionary<string, string> _kept = new(StringComparer.Ordinal);
    // the global model's tensors by their names without prefixes
    private readonly Lazy<Dictionary<string, TensorInfo>> _globalByName = new(() => names.Index(round.Global, round.Global.Tensors));

    /// <summary>
    /// The global model's quantized tensors and their companions, which keep its values, with the reasons.
    /// </summary>
    public IReadOnlyDictionary<string, string> Kept => _kept;

    /// <summary>Checks the global model's names and quantized tensors.</summary>
    public void CheckGlobal()
    {
        // throws if two names differ by their prefixes alone
        if (!names.AreExact)
            _ = _globalByName.Value;
        CheckQuantizedGlobal();
    }

    /// <summary>
    /// Finds the global model's quantized tensors, which keep their values. Refuses the round if the policy does not
    /// keep them: there is no client to drop.
    /// </summary>
    public void CheckQuantizedGlobal()
    {
        foreach (QuantizedTensor quantized in QuantizedTensors.Find(round.Global.Tensors, round.Global.Find))
        {
            if (_options.OnQuantized != QuantizedPolicy.Keep)
            {
                throw new RoundRejectedException(
                    RoundFault.Quantized, $"The global model's tensor {quantized.Describe()}; on-quantized=keep keeps its values.",
                    tensor: quantized.Code.Name);
            }

            foreach (string name in quantized.Names)
                _kept[name] = $"Tensor {quantized.Describe()}.";
        }
    }

    /// <summary>Checks all tensors of a client.</summary>
    public void Check(Participant participant)
    {
        HashSet<string> quantized = CheckQuantized(participant);
        var widened = new RepeatedNote();
        // tensors that the update has under another name than the global model; of the others a count is enough, as
        // names are unique
        HashSet<TensorInfo>? renamed = null;
        int known = 0;
        IReadOnlyList<TensorInfo> tensors = round.Global.Tensors;
        for (int i = 0; i < tensors.Count && participant.Exclusion is null; i++)
        {
            TensorInfo expected = tensors[i];
            TensorInfo? found = participant.Find(expected.Name, i);
            if (found is not null && found.Name != expected.Name)
                (renamed ??= []).Add(found);
            else if (found is not null)
                known++;
            if (_kept.ContainsKey(expected.Name) || quantized.Count > 0 && quantized.Contains(names.Strip(expected.Name)))
                continue;
            CheckTensor(participant, expected, found, ref widened);
        }

        if (participant.Exclusion is not null)
            return;
        var ignored = new RepeatedNote();
        if (participant.Tensors.Count > known)
            CheckExtra(participant, renamed, quantized, ref ignored);
        if (participant.Exclusion is not null)
            return;
        CheckExtraOfUnknownTypes(participant, ref ignored);
        if (participant.Exclusion is not null)
            return;
        if (widened.First is not null)
        {
            check.Notes.Add(widened.First + (widened.More > 0
                ? $" {widened.More} more of its tensors {Sentence.Form(widened.More, "is", "are")} widened too." : ""));
        }

        if (ignored.First is not null)
        {
            check.Notes.Add(ignored.First + (ignored.More > 0
                ? $"; {ignored.More} more {Sentence.Form(ignored.More, "was", "were")} ignored too." : "."));
        }
    }

    private static string Describe(Participant participant, TensorInfo tensor) =>
        $"{participant.NameWithFile}: tensor {Sentence.Quote(tensor.Name)}";

    /// <summary>Applies the policy for quantized tensors to a client.</summary>
    /// <returns>
    /// The names, without prefixes, of the client's quantized tensors that are quantized in the global model too and
    /// keep its values. If the global model has them as floats, the client's types differ (<c>on-dtype</c>): one client
    /// must not keep a tensor from all.
    /// </returns>
    private HashSet<string> CheckQuantized(Participant participant)
    {
        var kept = new HashSet<string>(StringComparer.Ordinal);
        foreach (QuantizedTensor quantized in QuantizedTensors.Find(participant.Tensors, participant.Find))
        {
            if (_options.OnQuantized != QuantizedPolicy.Keep)
            {
                FaultPolicy policy = _options.OnQuantized == QuantizedPolicy.DropClient ? FaultPolicy.DropClient : FaultPolicy.Reject;
                check.ApplyPolicy(policy, RoundFault.Quantized, participant, quantized.Code.Name,
                    $"{participant.NameWithFile}: tensor {quantized.Describe()}; on-quantized=keep keeps the global model's values.");
                return kept;
            }

            bool isKept = _globalByName.Value.TryGetValue(names.Strip(quantized.Code.Name), out TensorInfo? tensor) &&
                _kept.ContainsKey(tensor.Name);
            if (isKept)
                kept.UnionWith(quantized.Names.Select(names.Strip));
        }

        return kept;
    }

    /// <summary>Compares a client's tensor, null if it has none, with the global model's.</summary>
    private void CheckTensor(Participant participant, TensorInfo expected, TensorInfo? found, ref RepeatedNote widened)
    {
        if (found is null && participant.UnknownTypes.TryGetValue(names.Strip(expected.Name), out string? unknown))
        {
            check.ApplyPolicy(_options.OnDType, RoundFault.DType, participant, expected.Name,
                $"{Describe(participant, expected)} has the type {Sentence.Clean(unknown)}, which the library does not support; " +
                $"{expected} was expected.");
        }
        else if (found is null)
        {
            string hint = DescribePrefixHint(participant, expected, _options.OnMissing);
            check.ApplyPolicy(_options.OnMissing, RoundFault.Missing, participant, expected.Name,
                $"{Describe(participant, expected)} is missing; {expected} was expected{hint}.");
        }
        else if (pairs?.MayHaveAnotherRank(expected) == true)
        {
            if (pairs.DescribeShape(participant, expected, found) is { } fault)
            {
                check.ApplyPolicy(
                    _options.OnShape, RoundFault.Shape, participant, expected.Name, $"{Describe(participant, expected)} {fault}.");
            }
            else if (found.DType != expected.DType)
            {
                CheckType(participant, expected, found, ref widened);
            }
        }
        else if (found.ElementCount != expected.ElementCount || !(merge?.Accepts(expected, found) ?? found.Shape == expected.Shape))
        {
            check.ApplyPolicy(_options.OnShape, RoundFault.Shape, participant, expected.Name,
                $"{Describe(participant, expected)} has the shape {found.Shape}; {expected.Shape} was expected.");
        }
        else if (found.DType != expected.DType)
        {
            CheckType(participant, expected, found, ref widened);
        }
    }

    private void CheckType(Participant participant, TensorInfo expected, TensorInfo found, ref RepeatedNote widened)
    {
        string tensor = Describe(participant, expected);
        if (found.DType.IsComputed && expected.DType.IsComputed && !participant.IsPacked(found))
        {
            string both = $"{found.DType.SafetensorsName}, in the global model {expected.DType.SafetensorsName}";
            widened.Add($"{tensor} is {both}; both are widened exactly.");
            return;
        }

        bool anyFloat = expected.DType.IsComputed && !participant.IsPacked(found);
        string type = anyFloat ? "a float type (F64, F32, F16 or BF16)" : expected.DType.SafetensorsName;
        check.ApplyPolicy(_options.OnDType, RoundFault.DType, participant, expected.Name,
            $"{tensor} has the type {found.DType.SafetensorsName}; {type} was expected.");
    }

    /// <summary>
    /// Applies the policy to tensors that the global model lacks, or notes them if the policy ignores them.
    /// </summary>
    private void CheckExtra(Participant participant, HashSet<TensorInfo>? renamed, HashSet<string> quantized, ref RepeatedNote ignored)
    {
        foreach (TensorInfo extra in participant.Tensors)
        {
            if (round.Global.Find(extra.Name) is not null || renamed?.Contains(extra) == true ||
                quantized.Contains(names.Strip(extra.Name)))
            {
                continue;
            }

            string sentence = $"{Describe(participant, extra)} of {extra} is not in the global model";
            if (_options.OnExtra == FaultPolicy.DropTensor)
            {
                ignored.Add($"{sentence}. It was ignored");
                continue;
            }

            string hint = DescribePrefixHint(participant, extra, _options.OnExtra);
            check.ApplyPolicy(_options.OnExtra, RoundFault.Extra, participant, extra.Name, $"{sentence}{hint}.");
            if (participant.Exclusion is not null)
                return;
        }
    }

    private void CheckExtraOfUnknownTypes(Participant participant, ref RepeatedNote ignored)
    {
        foreach ((string name, string type) in participant.UnknownTypes.Where(tensor => !_globalByName.Value.ContainsKey(tensor.Key)))
        {
            string sentence =
                $"{participant.NameWithFile}: tensor {Sentence.Quote(name)} of the type {Sentence.Clean(type)} is not in the global model";
            if (_options.OnExtra != FaultPolicy.DropTensor)
                check.ApplyPolicy(_options.OnExtra, RoundFault.Extra, participant, name, $"{sentence}.");
            else
                ignored.Add($"{sentence}. It was ignored");
        }
    }

    /// <summary>
    /// Describes how to match names that differ by a wrapper's prefix alone; empty if no such names exist.
    /// </summary>
    private string DescribePrefixHint(Participant participant, TensorInfo tensor, FaultPolicy policy)
    {
        // the search passes over all names, so it is made only if the client's check ends with this sentence
        if (policy == FaultPolicy.DropTensor)
            return "";
        var known = new TensorNames(TensorNames.Known);
        bool differs = names.AreExact && participant.Tensors.Concat(round.Global.Tensors)
            .Any(other => other.Name != tensor.Name && known.Strip(other.Name) == known.Strip(tensor.Name));
        return differs ? "; names that differ by the prefixes of PyTorch's wrappers are matched with strip-prefix=true" : "";
    }

    /// <summary>
    /// The first of a client's similar notes, and the number of the others: the report has one line for them.
    /// </summary>
    private struct RepeatedNote
    {
        public string? First { get; private set; }

        public int More { get; private set; }

        public void Add(string sentence)
        {
            if (First is null)
                First = sentence;
            else
                More++;
        }
    }
}
