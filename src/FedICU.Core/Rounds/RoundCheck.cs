namespace FedICU;

/// <summary>Everything that is checked before anything is computed: weights, files, adapters' configurations, bases, names, shapes, types.</summary>
internal sealed class RoundCheck(AggregationRound round, CancellationToken cancellationToken)
{
    private readonly RoundOptions _options = round.Options;

    /// <summary>Every client that was added, in ordinal order.</summary>
    public List<Participant> Participants { get; } = [];

    /// <summary>Tensors that keep the global model's value, and why.</summary>
    public Dictionary<string, string> DroppedTensors { get; } = new(StringComparer.Ordinal);

    /// <summary>How many values of a client's tensor are not finite, where they were counted.</summary>
    public Dictionary<(string Client, string Tensor), long> NonFinite { get; } = [];

    public List<string> Notes { get; } = [];

    public IEnumerable<Participant> Included => Participants.Where(participant => participant.Exclusion is null);

    /// <summary>Opens and checks all clients; the caller disposes <see cref="Participants"/> whatever happens.</summary>
    public void Run()
    {
        _options.Validate();
        if (round.Updates.Count == 0)
            throw Refused("The round has no clients; at least one was expected.");
        foreach (ClientUpdate update in round.Updates.OrderBy(update => update.Id, StringComparer.Ordinal))
        {
            if (Participants.Count > 0 && Participants[^1].Id == update.Id)
                throw new RoundRejectedException(RoundFault.Round, $"Client '{update.Id}' was added twice; ids must be unique.", update.Id);
            Participants.Add(new Participant(update));
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
                DroppedTensors.TryAdd(tensor!, sentence);
                break;
            default:
                throw new RoundRejectedException(fault, sentence, participant.Id, tensor);
        }
    }

    public void CheckQuorum()
    {
        int included = Included.Count();
        int quorum = _options.Quorum ?? Participants.Count(participant => !participant.WeighsNothing);
        string reasons = string.Concat(Participants.Where(participant => participant.Exclusion is not null).Select(participant => " " + participant.Exclusion));
        if (included == 0)
            throw Refused($"No client remains in the round.{reasons}");
        if (included < quorum)
            throw Refused($"{included} of {Participants.Count} clients remain; the quorum is {quorum}{(_options.Quorum is null ? ", as none was set: all clients" : "")}.{reasons}");
    }

    private void OpenOne(Participant participant)
    {
        try
        {
            participant.Open();
        }
        catch (InvalidModelException e)
        {
            Fault(_options.OnUnreadable, RoundFault.Unreadable, participant, null, $"Client '{participant.Id}': {e.Message}");
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
                throw new RoundRejectedException(RoundFault.Round, $"Client '{participant.Id}': {e.Message}", participant.Id);
            }

            if (weight is { } w && !(w >= 0 && double.IsFinite(w)))
            {
                throw new RoundRejectedException(
                    RoundFault.Round, $"Client '{participant.Id}' has the weight {MetadataKeys.Invariant(w)}; a finite number of at least 0 was expected.", participant.Id);
            }

            participant.Weight = weight ?? 1;
            (weight is null ? silent : stated).Add(participant);
        }

        if (stated.Count > 0 && silent.Count > 0)
        {
            throw new RoundRejectedException(
                RoundFault.Round,
                $"Client '{silent[0].Id}' states no {MetadataKeys.Examples} where client '{stated[0].Id}' does; give a weight for every client or for none.",
                silent[0].Id);
        }

        if (silent.Count > 0)
            Notes.Add($"No client states {MetadataKeys.Examples}: every client weighs 1.");
        foreach (Participant participant in stated.Where(participant => participant.Weight == 0))
        {
            participant.WeighsNothing = true;
            participant.Exclusion = $"Client '{participant.Id}' has the weight 0.";
        }

        if (!double.IsFinite(Included.Sum(participant => participant.Weight)))
            throw Refused("The sum of the clients' weights is not finite.");
    }

    private void CheckAdapters()
    {
        if (round.Global is not PeftAdapter global)
            return;
        foreach (Participant participant in Included.ToList())
        {
            if (participant.Source is PeftAdapter adapter && adapter.Config.DescribeDisagreement(global.Config) is { } difference)
            {
                throw new RoundRejectedException(
                    RoundFault.Round, $"Client '{participant.Id}': its adapter_config.json disagrees with the global adapter's: {difference}.", participant.Id);
            }
        }
    }

    private void CheckBases()
    {
        List<Participant> based = [.. Included.Where(participant => participant.BaseDigest is not null)];
        if (based.Count > 0)
        {
            string digest = ModelDigest.Compute(round.Global, _options.Threads, cancellationToken);
            foreach (Participant participant in based.Where(participant => participant.BaseDigest != digest))
            {
                Fault(_options.OnBase, RoundFault.Base, participant, null,
                    $"Client '{participant.Id}' made its update against the model {participant.BaseDigest}; the round's global model is {digest}.");
            }
        }

        foreach (Participant participant in Included.Where(participant => participant is { Kind: UpdateKind.Delta, BaseDigest: null }))
            Notes.Add($"Client '{participant.Id}' does not state which model its delta was made against.");
    }

    private void CheckTensors(Participant participant)
    {
        foreach (TensorInfo expected in round.Global.Tensors)
        {
            string who = $"Client '{participant.Id}': tensor '{expected.Name}'";
            if (participant.Find(expected.Name) is not { } found)
            {
                Fault(_options.OnMissing, RoundFault.Missing, participant, expected.Name, $"{who} is missing; {expected} was expected.");
            }
            else if (found.Shape != expected.Shape)
            {
                Fault(_options.OnShape, RoundFault.Shape, participant, expected.Name, $"{who} has the shape {found.Shape}; {expected.Shape} was expected.");
            }
            else if (found.DType != expected.DType)
            {
                bool widens = found.DType.IsComputed && expected.DType.IsComputed && !participant.IsPacked(found);
                if (!widens)
                {
                    Fault(_options.OnDType, RoundFault.DType, participant, expected.Name,
                        $"{who} has the type {found.DType.SafetensorsName}; {expected.DType.SafetensorsName} was expected.");
                }
                else
                {
                    Notes.Add($"{who} is {found.DType.SafetensorsName} where the global model has {expected.DType.SafetensorsName}; both are widened exactly.");
                }
            }
        }

        foreach (TensorInfo extra in participant.Tensors.Where(tensor => round.Global.Find(tensor.Name) is null))
        {
            string sentence = $"Client '{participant.Id}': tensor '{extra.Name}' of {extra} is not in the global model.";
            if (_options.OnExtra == FaultPolicy.DropTensor)
                Notes.Add(sentence + " It was ignored.");
            else
                Fault(_options.OnExtra, RoundFault.Extra, participant, extra.Name, sentence);
        }
    }

    private static RoundRejectedException Refused(string sentence) => new(RoundFault.Round, sentence);
}
