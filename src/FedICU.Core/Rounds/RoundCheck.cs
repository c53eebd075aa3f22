using FedICU.Files;
using FedICU.Model;
using FedICU.Rounds.Lora;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>Everything that is checked before anything is computed: weights, files, adapters' configurations, bases, names, shapes, types.</summary>
internal sealed class RoundCheck(AggregationRound round, TensorSink? output, CancellationToken cancellationToken)
{
    private const string NoWeights = $"No client states {MetadataKeys.Examples}: every client weighs 1.";

    // a sentence lists no more clients than a person reads
    private const int ListedReasons = 10;

    private readonly RoundOptions _options = round.Options;
    private readonly RoundFiles _files = new();
    private readonly TensorNames _names = new(round.Options.StripPrefixes);
    // names of quantized tensors and their companions in the global model, and why they keep its values
    private readonly Dictionary<string, string> _kept = new(StringComparer.Ordinal);
    private readonly List<(Participant Client, string Tensor, string Sentence)> _tensorFaults = [];
    // the global model's tensors by their names without prefixes
    private readonly Lazy<Dictionary<string, TensorInfo>> _globalByName =
        new(() => new TensorNames(round.Options.StripPrefixes).Index(round.Global, round.Global.Tensors));

    /// <summary>Every client that was added, in ordinal order.</summary>
    public List<Participant> Participants { get; } = [];

    /// <summary>How many values of a client's tensor are not finite, where they were counted.</summary>
    public Dictionary<(string Client, string Tensor), long> NonFinite { get; } = [];

    /// <summary>What else is worth knowing, for the report.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>The configuration that the round's adapters share; null where neither the global model nor a client has one.</summary>
    public PeftAdapterConfig? AdapterConfig { get; private set; }

    public IEnumerable<Participant> Included => Participants.Where(participant => participant.Exclusion is null);

    /// <summary>
    /// Tensors that keep the global model's value: quantized ones, and those for a fault of a client that still takes part; and why.
    /// </summary>
    public Dictionary<string, string> DroppedTensors()
    {
        var faults = _tensorFaults.Where(fault => fault.Client.Exclusion is null).GroupBy(fault => fault.Tensor, StringComparer.Ordinal);
        var dropped = faults.ToDictionary(
            tensor => tensor.Key, tensor => Sentence.Fit(Listed([.. tensor.Select(fault => fault.Sentence)])), StringComparer.Ordinal);
        foreach ((string tensor, string reason) in _kept)
            dropped[tensor] = reason;
        return dropped;
    }

    /// <summary>Opens and checks all clients; the caller disposes <see cref="Participants"/> whatever happens.</summary>
    public void Run()
    {
        _options.Validate();
        if (round.Updates.Count == 0)
            throw Refused("The round has no clients; at least one was expected.");
        if (round.Global.DescribeNoModel() is { } other)
            throw Refused(other);
        if (!_names.AreExact)
            _ = _globalByName.Value;
        CheckQuantizedGlobal();
        HashSet<string> replaced = output?.ReplacedFiles() ?? [];
        foreach (ClientUpdate update in round.Updates.OrderBy(update => update.Id, StringComparer.Ordinal))
        {
            var participant = new Participant(update, _names);
            if (Participants.Count > 0 && Participants[^1].Id == update.Id)
                throw Refused($"{participant.Name} was added twice; ids must be unique.", participant);
            // the global model may be replaced by the next one, a client's update is its own
            if (update.Path is { } path && replaced.Overlaps(ModelFolder.ListFiles(path)))
                throw Refused($"{participant.Who}: the output would replace its update; another place was expected.", participant);
            Participants.Add(participant);
        }

        foreach (Participant participant in Participants)
        {
            cancellationToken.ThrowIfCancellationRequested();
            OpenOne(participant);
        }

        TakeWeights();
        CheckAdapters();
        CheckBases();
        foreach (Participant participant in Included.ToList())
            CheckTensors(participant);
        CheckAlphas();
        // after what is wrong with the models: who states no weight may be no client of this model
        CheckSilence();
        ReleaseDropped();
        CheckQuorum();
    }

    /// <summary>Applies a policy to a client's fault.</summary>
    public void Fault(FaultPolicy policy, RoundFault fault, Participant participant, string? tensor, string sentence)
    {
        switch (policy)
        {
            case FaultPolicy.DropClient:
                participant.Exclusion ??= Sentence.Fit(sentence);
                break;
            case FaultPolicy.DropTensor:
                _tensorFaults.Add((participant, tensor!, Sentence.Fit(sentence)));
                break;
            default:
                throw new RoundRejectedException(fault, sentence, participant.Id, tensor);
        }
    }

    /// <summary>
    /// Drops the client whose update turned out to be unreadable or changed in the course of the round; false where the policy refuses the
    /// round.
    /// </summary>
    public bool TryDrop(RoundRejectedException broken)
    {
        FaultPolicy policy = broken.Fault switch
        {
            RoundFault.Changed => _options.OnChanged,
            RoundFault.Unreadable => _options.OnUnreadable,
            _ => FaultPolicy.Reject,
        };
        Participant? participant = Included.FirstOrDefault(participant => participant.Id == broken.ClientId);
        if (policy != FaultPolicy.DropClient || participant is null)
            return false;
        participant.Exclusion = broken.Message;
        return true;
    }

    /// <summary>Closes the updates that no longer take part.</summary>
    public void ReleaseDropped()
    {
        foreach (Participant participant in Participants.Where(participant => participant.Exclusion is not null))
            participant.Dispose();
    }

    /// <summary>
    /// Applies the policy to clients whose files were changed since the round opened them: what was made of them may be a mixture. A changed global model
    /// is refused. Returns whether all that was read is unchanged.
    /// </summary>
    public bool AreFilesUnchanged()
    {
        round.Global.RequireUnchanged();
        bool unchanged = true;
        foreach (Participant participant in Included.ToList())
        {
            try
            {
                participant.Source.RequireUnchanged();
            }
            catch (InvalidModelException e)
            {
                FaultFile(participant, e);
                unchanged = false;
            }
        }

        return unchanged;
    }

    /// <summary>Applies the policy to a client whose update cannot be read, or was changed.</summary>
    private void FaultFile(Participant participant, InvalidModelException e)
    {
        RoundFault fault = RoundRejectedException.FaultOf(e);
        FaultPolicy policy = fault == RoundFault.Changed ? _options.OnChanged : _options.OnUnreadable;
        Fault(policy, fault, participant, null, $"{participant.Name}: {e.Message}");
    }

    /// <summary>Checks the round's one update as it arrives: all but what concerns the clients together. The caller disposes <see cref="Participants"/>.</summary>
    public Participant RunAlone()
    {
        CheckQuantizedGlobal();
        var participant = new Participant(round.Updates[0], _names);
        Participants.Add(participant);
        OpenOne(participant);
        TakeWeights();
        CheckAdapters();
        CheckBases();
        if (participant.Exclusion is null)
            CheckTensors(participant);
        CheckAlphas();
        return participant;
    }

    public void CheckQuorum()
    {
        int included = Included.Count();
        int quorum = _options.Quorum ?? Participants.Count(participant => !participant.WeighsNothing);
        string[] reasons = [.. Participants.Select(participant => participant.Exclusion).OfType<string>()];
        if (included == 0)
            throw Refused($"No client remains in the round. {Listed(reasons)}");
        if (included < quorum)
        {
            throw Refused(
                $"{included} of {Sentence.Count(Participants.Count, "client")} {Sentence.Form(included, "remains", "remain")}; the quorum is {quorum}{(_options.Quorum is null ? ", as none was set: all clients" : "")}. {Listed(reasons)}".TrimEnd());
        }
    }

    private static string Listed(string[] sentences) =>
        string.Join(' ', sentences.Take(ListedReasons)) + (sentences.Length > ListedReasons ? $" And {sentences.Length - ListedReasons} more." : "");

    private void OpenOne(Participant participant)
    {
        try
        {
            participant.Open(round.Global, _files, cancellationToken);
        }
        catch (InvalidModelException e)
        {
            FaultFile(participant, e);
            participant.Dispose();
        }
    }

    private void TakeWeights()
    {
        foreach (Participant participant in Included.ToList())
        {
            double? weight = null;
            string? fault = null;
            try
            {
                weight = participant.StatedWeight();
                if (weight is { } stated && DescribeWrong(stated) is { } expected)
                    fault = $"{participant.Who} has the weight {Numbers.Invariant(stated)}; {expected} was expected.";
            }
            catch (InvalidModelException e)
            {
                fault = $"{participant.Name}: {e.Message}";
            }

            if (fault is not null)
            {
                Fault(_options.OnWeight, RoundFault.Weight, participant, null, fault);
                continue;
            }

            participant.Weight = weight ?? 1;
            participant.IsSilent = weight is null;
        }

        foreach (Participant participant in Included.Where(participant => participant.Weight == 0).ToList())
        {
            participant.WeighsNothing = true;
            participant.Exclusion = $"{participant.Who} has the weight 0.";
        }

        double sum = 0;
        foreach (Participant participant in Included)
        {
            sum += participant.Weight;
            if (!double.IsFinite(sum))
            {
                throw Refused(
                    $"{participant.Who} has the weight {Numbers.Invariant(participant.Weight)}, with which the sum of the clients' weights " +
                    "is no longer finite; set max-weight lower.",
                    participant);
            }
        }
    }

    private string? DescribeWrong(double weight)
    {
        if (!(weight >= 0 && double.IsFinite(weight)))
            return "a finite number of at least 0";
        return weight > _options.MaxWeight ? $"at most {Numbers.Invariant(_options.MaxWeight)} (max-weight)" : null;
    }

    /// <summary>
    /// Either all clients state a weight or none does. Where only some do, the fault is that of the fewer; of those that state none where
    /// both are as many.
    /// </summary>
    private void CheckSilence()
    {
        List<Participant> silent = [.. Included.Where(participant => participant.IsSilent)];
        List<Participant> stating =
            [.. Participants.Where(participant => !participant.IsSilent && (participant.Exclusion is null || participant.WeighsNothing))];
        if (silent.Count == 0)
            return;
        if (stating.Count == 0)
        {
            Notes.Add(NoWeights);
            return;
        }

        if (silent.Count <= stating.Count)
        {
            foreach (Participant participant in silent)
            {
                Fault(_options.OnWeight, RoundFault.Weight, participant, null,
                    $"{participant.Who} states no {MetadataKeys.Examples} where client {Sentence.Quote(stating[0].Id)} does; " +
                    "give every client a weight.");
            }
        }
        else
        {
            foreach (Participant participant in stating)
            {
                Fault(_options.OnWeight, RoundFault.Weight, participant, null,
                    $"{participant.Who} states {MetadataKeys.Examples} {Numbers.Invariant(participant.Weight)} where {silent.Count} clients " +
                    "state none; give every client a weight.");
            }

            Notes.Add(NoWeights);
        }
    }

    private FaultPolicy ConfigFaults => _options.OnConfig == ConfigPolicy.DropClient ? FaultPolicy.DropClient : FaultPolicy.Reject;

    private void CheckAdapters()
    {
        if (ExpectedConfig() is not { } expected)
            return;
        AdapterConfig = expected.Config;
        bool ignoreBase = _options.OnConfig == ConfigPolicy.IgnoreBase;
        foreach (Participant participant in Included.ToList())
        {
            if (participant.AdapterConfig?.DescribeDisagreement(expected.Config, ignoreBase) is { } difference)
            {
                Fault(ConfigFaults, RoundFault.Config, participant, null,
                    $"{participant.Who}: its adapter_config.json disagrees with {expected.Whose}: {difference}.");
            }
        }

        // a packed update is one file: it never comes with a config
        Participant[] without = [.. Included.Where(participant => participant.AdapterConfig is null && participant.Kind != UpdateKind.Sparse)];
        string whose = Included.Any(participant => participant.AdapterConfig is not null) ? "others have" : "the global adapter has";
        if (without.Length > 0)
            Notes.Add($"{without[0].Who}{(without.Length > 1 ? $" and {without.Length - 1} more" : "")} came without the adapter_config.json that {whose}: there was nothing to compare.");
    }

    /// <summary>kohya's files state in tensors what an adapter's folder states in its configuration.</summary>
    private void CheckAlphas()
    {
        foreach (TensorInfo tensor in LoraAlphas.Find(round.Global))
        {
            double? expected = LoraAlphas.Read(round.Global, tensor);
            foreach (Participant participant in Included.Where(participant => participant.Kind != UpdateKind.Delta).ToList())
            {
                // one that is missing, of another shape or packed was checked before
                if (participant.Find(tensor.Name) is not { ElementCount: 1 } own || participant.IsPacked(own))
                    continue;
                try
                {
                    double? found = LoraAlphas.Read(participant.Source, own);
                    if (found is { } sent && expected is { } alpha && sent != alpha && double.IsFinite(sent))
                    {
                        Fault(ConfigFaults, RoundFault.Config, participant, tensor.Name,
                            $"{participant.Who}: {Sentence.Quote(tensor.Name)} is {Numbers.Invariant(sent)} against the global model's " +
                            $"{Numbers.Invariant(alpha)}.");
                    }
                }
                catch (InvalidModelException e)
                {
                    FaultFile(participant, e);
                }
            }
        }
    }

    /// <summary>
    /// The global adapter's configuration; without one the clients'. Where clients may be dropped, no single one of them decides.
    /// </summary>
    private (PeftAdapterConfig Config, string Whose)? ExpectedConfig()
    {
        if (round.Global is PeftAdapter global)
            return (global.Config, "the global adapter's");
        List<Participant> adapters = [.. Included.Where(participant => participant.AdapterConfig is not null)];
        if (adapters.Count == 0)
            return null;
        if (_options.OnConfig != ConfigPolicy.DropClient)
            return (adapters[0].AdapterConfig!, $"that of client {Sentence.Quote(adapters[0].Id)}");
        // groups come in the order of their first clients, and the first of the largest is taken
        List<Participant> most = adapters.GroupBy(participant => participant.AdapterConfig!.DecidingKey(), StringComparer.Ordinal)
            .Select(group => group.ToList()).MaxBy(group => group.Count)!;
        string others = most.Count > 1 ? $" and {Sentence.Count(most.Count - 1, "other")}" : "";
        return (most[0].AdapterConfig!, $"that of client {Sentence.Quote(most[0].Id)}{others}");
    }

    private void CheckBases()
    {
        List<Participant> based = [.. Included.Where(participant => participant.BaseDigest is not null)];
        if (based.Count > 0)
        {
            using var read = _options.Progress is null ? null : new ProgressSource(round.Global, new ProgressMeter(_options.Progress, "check", round.Global.TotalBytes));
            string digest = round.GlobalDigest ?? ModelDigest.Compute(read ?? round.Global, _options.Threads, cancellationToken);
            foreach (Participant participant in based.Where(participant => participant.BaseDigest != digest))
            {
                Fault(_options.OnBase, RoundFault.Base, participant, null,
                    $"{participant.Who} made its update against the model {Sentence.Clean(participant.BaseDigest!)}; the round's global model is {digest}.");
            }
        }

        foreach (Participant participant in Included.ToList())
        {
            if (participant.ContradictedKind is { } stated)
                Notes.Add($"{participant.Who} states the kind {stated}; it is taken as {participant.Kind.Text()}, which the caller says.");
            if (participant is { Kind: UpdateKind.Delta, BaseDigest: null })
                Notes.Add($"{participant.Who} does not state which model its delta was made against.");
            if (_options.Round is { } number && participant.OtherRound(number) is { } other)
                TakeStale(participant, $"{participant.Who} states the round {Sentence.Quote(other)}; this is round {number}.");
        }
    }

    private static FaultPolicy PolicyOf(bool dropsClient) => dropsClient ? FaultPolicy.DropClient : FaultPolicy.Reject;

    private void TakeStale(Participant participant, string sentence)
    {
        if (_options.OnStale == StalePolicy.Note)
            Notes.Add(sentence);
        else
            Fault(PolicyOf(_options.OnStale == StalePolicy.DropClient), RoundFault.Stale, participant, null, sentence);
    }

    /// <summary>Quantized tensors of the global model keep its values, or the round is refused: there is no client to drop.</summary>
    private void CheckQuantizedGlobal()
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

    /// <summary>
    /// Whether the client's quantized tensors let it take part; the names, without prefixes, of those that the global model has quantized too and keeps.
    /// Where it has them as floats, the client's have another type (<c>on-dtype</c>): one client must not keep a tensor from all.
    /// </summary>
    private HashSet<string> CheckQuantized(Participant participant)
    {
        var kept = new HashSet<string>(StringComparer.Ordinal);
        foreach (QuantizedTensor quantized in QuantizedTensors.Find(participant.Tensors, participant.Find))
        {
            string sentence = $"{participant.Who}: tensor {quantized.Describe()}";
            if (_options.OnQuantized != QuantizedPolicy.Keep)
            {
                Fault(PolicyOf(_options.OnQuantized == QuantizedPolicy.DropClient), RoundFault.Quantized, participant, quantized.Code.Name,
                    $"{sentence}; on-quantized=keep keeps the global model's values.");
                return kept;
            }

            if (_globalByName.Value.TryGetValue(_names.Strip(quantized.Code.Name), out TensorInfo? tensor) && _kept.ContainsKey(tensor.Name))
                kept.UnionWith(quantized.Names.Select(_names.Strip));
        }

        return kept;
    }

    private void CheckTensors(Participant participant)
    {
        HashSet<string> quantized = CheckQuantized(participant);
        var widened = new Repeated();
        var ignored = new Repeated();
        // tensors that stand for one of another name; of the others a count is enough, as names are unique
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
            if (_kept.ContainsKey(expected.Name) || quantized.Count > 0 && quantized.Contains(_names.Strip(expected.Name)))
                continue;
            if (found is null && participant.UnknownTypes.TryGetValue(_names.Strip(expected.Name), out string? unknown))
                FaultUnknownType(participant, expected, unknown);
            else if (found is null)
            {
                string hint = PrefixHint(participant, expected, _options.OnMissing);
                Fault(_options.OnMissing, RoundFault.Missing, participant, expected.Name,
                    $"{Tensor(expected)} is missing; {expected} was expected{hint}.");
            }
            else if (found.Shape != expected.Shape)
            {
                Fault(_options.OnShape, RoundFault.Shape, participant, expected.Name,
                    $"{Tensor(expected)} has the shape {found.Shape}; {expected.Shape} was expected.");
            }
            else if (found.DType != expected.DType)
                CheckType(participant, expected, found, ref widened);
        }

        if (participant.Exclusion is not null)
            return;
        if (participant.Tensors.Count > known)
        {
            bool IsExtra(TensorInfo tensor) =>
                round.Global.Find(tensor.Name) is null && renamed?.Contains(tensor) != true && !quantized.Contains(_names.Strip(tensor.Name));
            foreach (TensorInfo extra in participant.Tensors.Where(IsExtra))
            {
                if (participant.Exclusion is not null)
                    return;
                if (_options.OnExtra != FaultPolicy.DropTensor)
                {
                    string hint = PrefixHint(participant, extra, _options.OnExtra);
                    Fault(_options.OnExtra, RoundFault.Extra, participant, extra.Name, $"{Tensor(extra)} of {extra} is not in the global model{hint}.");
                }
                else
                    ignored.Add($"{Tensor(extra)} of {extra} is not in the global model. It was ignored");
            }
        }

        foreach ((string name, string type) in participant.UnknownTypes.Where(tensor => !_globalByName.Value.ContainsKey(tensor.Key)))
        {
            string sentence = $"{participant.Who}: tensor {Sentence.Quote(name)} of the type {Sentence.Clean(type)} is not in the global model";
            if (_options.OnExtra != FaultPolicy.DropTensor)
                Fault(_options.OnExtra, RoundFault.Extra, participant, name, $"{sentence}.");
            else
                ignored.Add($"{sentence}. It was ignored");
        }

        // a line for each client, however many its tensors are
        if (participant.Exclusion is not null)
            return;
        if (widened.First is not null)
            Notes.Add(widened.First + (widened.More > 0 ? $" So {Sentence.Form(widened.More, "is", "are")} {widened.More} more of its tensors." : ""));
        if (ignored.First is not null)
            Notes.Add(ignored.First + (ignored.More > 0 ? $", and so {Sentence.Form(ignored.More, "was", "were")} {ignored.More} more." : "."));

        string Tensor(TensorInfo tensor) => $"{participant.Who}: tensor {Sentence.Quote(tensor.Name)}";
    }

    private void FaultUnknownType(Participant participant, TensorInfo expected, string type) => Fault(
        _options.OnDType, RoundFault.DType, participant, expected.Name,
        $"{participant.Who}: tensor {Sentence.Quote(expected.Name)} has the type {Sentence.Clean(type)}, which the library does not have; " +
        $"{expected} was expected.");

    private void CheckType(Participant participant, TensorInfo expected, TensorInfo found, ref Repeated widened)
    {
        string tensor = $"{participant.Who}: tensor {Sentence.Quote(expected.Name)}";
        if (found.DType.IsComputed && expected.DType.IsComputed && !participant.IsPacked(found))
        {
            string both = $"{found.DType.SafetensorsName} where the global model has {expected.DType.SafetensorsName}";
            widened.Add($"{tensor} is {both}; both are widened exactly.");
            return;
        }

        bool anyFloat = expected.DType.IsComputed && !participant.IsPacked(found);
        string type = anyFloat ? "a float type (F64, F32, F16 or BF16)" : expected.DType.SafetensorsName;
        Fault(_options.OnDType, RoundFault.DType, participant, expected.Name,
            $"{tensor} has the type {found.DType.SafetensorsName}; {type} was expected.");
    }

    /// <summary>What helps where names differ by a wrapper's prefix alone; nothing where they do not.</summary>
    private string PrefixHint(Participant participant, TensorInfo tensor, FaultPolicy policy)
    {
        // looking for the other name takes a pass over all names: only where the client's check ends with this sentence
        if (policy == FaultPolicy.DropTensor)
            return "";
        var known = new TensorNames(TensorNames.Known);
        bool differs = _names.AreExact && participant.Tensors.Concat(round.Global.Tensors)
            .Any(other => other.Name != tensor.Name && known.Strip(other.Name) == known.Strip(tensor.Name));
        return differs ? "; names that differ by the prefixes of PyTorch's wrappers are matched with strip-prefix=true" : "";
    }

    /// <summary>The first of many like sentences, and how many more there are.</summary>
    private struct Repeated
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

    private static RoundRejectedException Refused(string sentence, Participant? participant = null) => new(RoundFault.Round, sentence, participant?.Id);
}
