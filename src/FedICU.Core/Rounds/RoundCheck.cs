using FedICU.Safetensors;

namespace FedICU;

/// <summary>Everything that is checked before anything is computed: weights, files, adapters' configurations, bases, names, shapes, types.</summary>
internal sealed class RoundCheck(AggregationRound round, CancellationToken cancellationToken)
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

    public IEnumerable<Participant> Included => Participants.Where(participant => participant.Exclusion is null);

    /// <summary>Tensors that keep the global model's value for a fault of a client that still takes part, and why.</summary>
    public Dictionary<string, string> DroppedTensors()
    {
        var dropped = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (var (_, tensor, sentence) in _tensorFaults.Where(fault => fault.Client.Exclusion is null))
            dropped.TryAdd(tensor, sentence);
        return dropped;
    }

    /// <summary>Opens and checks all clients; the caller disposes <see cref="Participants"/> whatever happens.</summary>
    public void Run()
    {
        _options.Validate();
        if (round.Updates.Count == 0)
            throw Refused("The round has no clients; at least one was expected.");
        foreach (ClientUpdate update in round.Updates.OrderBy(update => update.Id, StringComparer.Ordinal))
        {
            var participant = new Participant(update);
            if (Participants.Count > 0 && Participants[^1].Id == update.Id)
                throw Refused($"{participant.Name} was added twice; ids must be unique.", participant);
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

    public void CheckQuorum()
    {
        int included = Included.Count();
        int quorum = _options.Quorum ?? Participants.Count(participant => !participant.WeighsNothing);
        string[] reasons = [.. Participants.Select(participant => participant.Exclusion).OfType<string>()];
        string listed = string.Concat(reasons.Take(ListedReasons).Select(reason => " " + reason)) +
            (reasons.Length > ListedReasons ? $" And {reasons.Length - ListedReasons} more." : "");
        if (included == 0)
            throw Refused($"No client remains in the round.{listed}");
        if (included < quorum)
            throw Refused($"{included} of {Participants.Count} clients remain; the quorum is {quorum}{(_options.Quorum is null ? ", as none was set: all clients" : "")}.{listed}");
    }

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
        var stated = new List<Participant>();
        var silent = new List<Participant>();
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
            (weight is null ? silent : stated).Add(participant);
        }

        if (stated.Count > 0 && silent.Count > 0)
        {
            throw Refused(
                $"{silent[0].Who} states no {MetadataKeys.Examples} where client {Sentence.Quote(stated[0].Id)} does; give a weight for every client or for none.", silent[0]);
        }

        if (silent.Count > 0)
            Notes.Add($"No client states {MetadataKeys.Examples}: every client weighs 1.");
        foreach (Participant participant in stated.Where(participant => participant.Weight == 0))
        {
            participant.WeighsNothing = true;
            participant.Exclusion = $"{participant.Who} has the weight 0.";
        }

        if (!double.IsFinite(Included.Sum(participant => participant.Weight)))
            throw Refused("The sum of the clients' weights is not finite.");
    }

    private void CheckAdapters()
    {
        (PeftAdapterConfig Config, string Whose) expected;
        if (round.Global is PeftAdapter global)
            expected = (global.Config, "the global adapter's");
        else if (Included.FirstOrDefault(participant => participant.AdapterConfig is not null) is { } first)
            expected = (first.AdapterConfig!, $"that of client {Sentence.Quote(first.Id)}");
        else
            return;
        foreach (Participant participant in Included)
        {
            if (participant.AdapterConfig?.DescribeDisagreement(expected.Config) is { } difference)
                throw Refused($"{participant.Who}: its adapter_config.json disagrees with {expected.Whose}: {difference}.", participant);
        }

        Participant[] without = [.. Included.Where(participant => participant.AdapterConfig is null)];
        if (without.Length > 0)
            Notes.Add($"{without[0].Who}{(without.Length > 1 ? $" and {without.Length - 1} more" : "")} came without the adapter_config.json that others have: there was nothing to compare.");
    }

    private void CheckBases()
    {
        List<Participant> based = [.. Included.Where(participant => participant.BaseDigest is not null)];
        if (based.Count > 0)
        {
            using var read = _options.Progress is null ? null : new ProgressSource(round.Global, new ProgressMeter(_options.Progress, "check", round.Global.TotalBytes));
            string digest = ModelDigest.Compute(read ?? round.Global, _options.Threads, cancellationToken);
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
        int moreWidened = 0, moreIgnored = 0;
        foreach (TensorInfo expected in round.Global.Tensors)
        {
            if (participant.Find(expected.Name) is not { } found)
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
                    Fault(_options.OnDType, RoundFault.DType, participant, expected.Name,
                        $"{Tensor(expected)} has the type {found.DType.SafetensorsName}; {expected.DType.SafetensorsName} was expected.");
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

        foreach (TensorInfo extra in participant.Tensors.Where(tensor => round.Global.Find(tensor.Name) is null))
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
            Notes.Add(widened + (moreWidened > 0 ? $" So are {moreWidened} more of its tensors." : ""));
        if (ignored is not null)
            Notes.Add(ignored + (moreIgnored > 0 ? $", and so were {moreIgnored} more." : "."));

        string Tensor(TensorInfo tensor) => $"{participant.Who}: tensor {Sentence.Quote(tensor.Name)}";
    }

    private static RoundRejectedException Refused(string sentence, Participant? participant = null) => new(RoundFault.Round, sentence, participant?.Id);
}
