using FedICU.Safetensors;

namespace FedICU;

/// <summary>Everything that is checked before anything is computed: weights, files, adapters' configurations, bases, names, shapes, types.</summary>
internal sealed class RoundCheck(AggregationRound round, TensorSink? output, CancellationToken cancellationToken)
{
    // a sentence lists no more clients than a person reads
    private const int ListedReasons = 10;

    private readonly RoundOptions _options = round.Options;
    private readonly RoundFiles _files = new();
    private readonly List<(Participant Client, string Tensor, string Sentence)> _tensorFaults = [];

    /// <summary>Every client that was added, in ordinal order.</summary>
    public List<Participant> Participants { get; } = [];

    /// <summary>How many values of a client's tensor are not finite, where they were counted.</summary>
    public Dictionary<(string Client, string Tensor), long> NonFinite { get; } = [];

    public List<string> Notes { get; } = [];

    /// <summary>The configuration that the round's adapters share; null where neither the global model nor a client has one.</summary>
    public PeftAdapterConfig? AdapterConfig { get; private set; }

    public IEnumerable<Participant> Included => Participants.Where(participant => participant.Exclusion is null);

    /// <summary>Tensors that keep the global model's value for a fault of a client that still takes part, and why.</summary>
    public Dictionary<string, string> DroppedTensors()
    {
        var faults = _tensorFaults.Where(fault => fault.Client.Exclusion is null).GroupBy(fault => fault.Tensor, StringComparer.Ordinal);
        return faults.ToDictionary(tensor => tensor.Key, tensor => Listed([.. tensor.Select(fault => fault.Sentence)]), StringComparer.Ordinal);
    }

    /// <summary>Opens and checks all clients; the caller disposes <see cref="Participants"/> whatever happens.</summary>
    public void Run()
    {
        _options.Validate();
        if (round.Updates.Count == 0)
            throw Refused("The round has no clients; at least one was expected.");
        if (round.Global.DescribeNoModel() is { } other)
            throw Refused(other);
        foreach (ClientUpdate update in round.Updates.OrderBy(update => update.Id, StringComparer.Ordinal))
        {
            var participant = new Participant(update);
            if (Participants.Count > 0 && Participants[^1].Id == update.Id)
                throw Refused($"{participant.Name} was added twice; ids must be unique.", participant);
            // the global model may be replaced by the next one, a client's update is its own
            if (update.Path is { } path && output?.Replaces(path) == true)
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
        CheckQuorum();
    }

    /// <summary>Applies a policy to a client's fault.</summary>
    public void Fault(FaultPolicy policy, RoundFault fault, Participant participant, string? tensor, string sentence)
    {
        switch (policy)
        {
            case FaultPolicy.DropClient:
                participant.Exclusion ??= sentence;
                break;
            case FaultPolicy.DropTensor:
                _tensorFaults.Add((participant, tensor!, sentence));
                break;
            default:
                throw new RoundRejectedException(fault, sentence, participant.Id, tensor);
        }
    }

    /// <summary>Checks the round's one update as it arrives: all but what concerns the clients together. The caller disposes <see cref="Participants"/>.</summary>
    public Participant RunAlone()
    {
        var participant = new Participant(round.Updates[0]);
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
            Fault(_options.OnUnreadable, RoundFault.Unreadable, participant, null, $"{participant.Name}: {e.Message}");
        }
    }

    private void TakeWeights()
    {
        foreach (Participant participant in Included)
        {
            double? weight = null;
            try
            {
                weight = participant.StatedWeight();
            }
            catch (InvalidModelException e)
            {
                throw Refused($"{participant.Name}: {e.Message}", participant);
            }

            if (weight is { } w && !(w >= 0 && double.IsFinite(w)))
                throw Refused($"{participant.Who} has the weight {MetadataKeys.Invariant(w)}; a finite number of at least 0 was expected.", participant);
            participant.Weight = weight ?? 1;
            participant.IsSilent = weight is null;
        }

        foreach (Participant participant in Included.Where(participant => participant.Weight == 0).ToList())
        {
            participant.WeighsNothing = true;
            participant.Exclusion = $"{participant.Who} has the weight 0.";
        }

        if (!double.IsFinite(Included.Sum(participant => participant.Weight)))
            throw Refused("The sum of the clients' weights is not finite.");
    }

    private void CheckSilence()
    {
        if (Included.FirstOrDefault(participant => participant.IsSilent) is not { } silent)
            return;
        if (Participants.FirstOrDefault(participant => !participant.IsSilent && (participant.Exclusion is null || participant.WeighsNothing)) is { } stated)
            throw Refused($"{silent.Who} states no {MetadataKeys.Examples} where client {Sentence.Quote(stated.Id)} does; give every client a weight.", silent);
        Notes.Add($"No client states {MetadataKeys.Examples}: every client weighs 1.");
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
                            $"{participant.Who}: {Sentence.Quote(tensor.Name)} is {MetadataKeys.Invariant(sent)} against the global model's " +
                            $"{MetadataKeys.Invariant(alpha)}.");
                    }
                }
                catch (InvalidModelException e)
                {
                    Fault(_options.OnUnreadable, RoundFault.Unreadable, participant, null, $"{participant.Name}: {e.Message}");
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

        foreach (Participant participant in Included)
        {
            if (participant is { Kind: UpdateKind.Delta, BaseDigest: null })
                Notes.Add($"{participant.Who} does not state which model its delta was made against.");
            if (_options.Round is { } number && participant.OtherRound(number) is { } other)
                Notes.Add($"{participant.Who} states the round {Sentence.Quote(other)}; this is round {number}.");
        }
    }

    private void CheckTensors(Participant participant)
    {
        string? widened = null, ignored = null;
        int moreWidened = 0, moreIgnored = 0, known = 0;
        IReadOnlyList<TensorInfo> tensors = round.Global.Tensors;
        for (int i = 0; i < tensors.Count; i++)
        {
            TensorInfo expected = tensors[i];
            TensorInfo? found = participant.Find(expected.Name, i);
            known += found is null ? 0 : 1;
            if (found is null)
            {
                Fault(_options.OnMissing, RoundFault.Missing, participant, expected.Name, $"{Tensor(expected)} is missing; {expected} was expected.");
            }
            else if (found.Shape != expected.Shape)
            {
                Fault(_options.OnShape, RoundFault.Shape, participant, expected.Name, $"{Tensor(expected)} has the shape {found.Shape}; {expected.Shape} was expected.");
            }
            else if (found.DType != expected.DType)
            {
                if (!found.DType.IsComputed || !expected.DType.IsComputed || participant.IsPacked(found))
                {
                    string type = expected.DType.IsComputed && !participant.IsPacked(found) ? "a float type (F64, F32, F16 or BF16)" : expected.DType.SafetensorsName;
                    Fault(_options.OnDType, RoundFault.DType, participant, expected.Name, $"{Tensor(expected)} has the type {found.DType.SafetensorsName}; {type} was expected.");
                }
                else if (widened is null)
                {
                    widened = $"{Tensor(expected)} is {found.DType.SafetensorsName} where the global model has {expected.DType.SafetensorsName}; both are widened exactly.";
                }
                else
                {
                    moreWidened++;
                }
            }
        }

        // names are unique: where all were met, none is extra
        foreach (TensorInfo extra in participant.Tensors.Count == known ? [] : participant.Tensors.Where(tensor => round.Global.Find(tensor.Name) is null))
        {
            if (_options.OnExtra != FaultPolicy.DropTensor)
                Fault(_options.OnExtra, RoundFault.Extra, participant, extra.Name, $"{Tensor(extra)} of {extra} is not in the global model.");
            else if (ignored is null)
                ignored = $"{Tensor(extra)} of {extra} is not in the global model. It was ignored";
            else
                moreIgnored++;
        }

        // a line for each client, however many its tensors are
        if (participant.Exclusion is not null)
            return;
        if (widened is not null)
            Notes.Add(widened + (moreWidened > 0 ? $" So {Sentence.Form(moreWidened, "is", "are")} {moreWidened} more of its tensors." : ""));
        if (ignored is not null)
            Notes.Add(ignored + (moreIgnored > 0 ? $", and so {Sentence.Form(moreIgnored, "was", "were")} {moreIgnored} more." : "."));

        string Tensor(TensorInfo tensor) => $"{participant.Who}: tensor {Sentence.Quote(tensor.Name)}";
    }

    private static RoundRejectedException Refused(string sentence, Participant? participant = null) => new(RoundFault.Round, sentence, participant?.Id);
}
