using FedICU.Errors;
using FedICU.Files;
using FedICU.Model;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>
/// Opens a round's updates and checks them before anything is computed: weights, files, adapter configurations, bases,
/// names, shapes and types. Applies the round's policies to every fault found, here and later in the round.
/// </summary>
internal sealed class RoundCheck
{
    // the number of sentences that an error or a report's reason lists: chosen, what a person reads
    private const int ListedReasons = 10;

    private readonly AggregationRound _round;
    private readonly TensorSink? _output;
    private readonly CancellationToken _cancellationToken;
    private readonly StageSequence? _stages;
    private readonly RoundOptions _options;
    private readonly RoundFiles _files = new();
    private readonly TensorNames _names;
    private readonly WeightCheck _weights;
    private readonly AdapterCheck _adapters;
    private readonly TensorCheck _tensors;
    private readonly StatementCheck _statements;
    private readonly PairCheck? _pairs;
    private readonly List<(Participant Client, string Tensor, string Sentence)> _tensorFaults = [];

    /// <param name="round">The round.</param>
    /// <param name="output">The round's output, which must not replace an update; null if there is none.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <param name="stages">
    /// Decide which shapes and statements they take; null: the global model's shapes, any statement.
    /// </param>
    public RoundCheck(AggregationRound round, TensorSink? output, CancellationToken cancellationToken, StageSequence? stages = null)
    {
        (_round, _output, _cancellationToken, _options, _stages) = (round, output, cancellationToken, round.Options, stages);
        _names = new TensorNames(_options.StripPrefixes);
        _weights = new WeightCheck(this, _options, stages?.IsPrivate == true);
        var pairMerge = stages?.Merge as PairMerge;
        _pairs = pairMerge is null ? null : new PairCheck(this, round, stages!, pairMerge);
        _adapters = new AdapterCheck(this, round, mixesRanks: pairMerge?.MixesRanks == true);
        _tensors = new TensorCheck(this, round, _names, stages?.Merge, _pairs);
        _statements = new StatementCheck(this, _options, round.Global, stages);
    }

    /// <summary>Every client that was added, in ordinal order of the ids.</summary>
    public List<Participant> Participants { get; } = [];

    /// <summary>The number of NaN and infinite values of a client's tensor, if they were counted.</summary>
    public Dictionary<(string Client, string Tensor), long> NonFinite { get; } = [];

    /// <summary>Notes for the report.</summary>
    public List<string> Notes { get; } = [];

    /// <summary>
    /// The configuration that the round's adapters share; null if neither the global model nor a client has one.
    /// </summary>
    public PeftAdapterConfig? AdapterConfig => _adapters.Config;

    /// <summary>The LoRA pairs, if the merge sees pairs and the check has begun.</summary>
    public RoundPairs? Pairs => _pairs?.Pairs;

    /// <summary>The global model's digest, computed when it is first asked for.</summary>
    public string GlobalDigest => field ??= _round.GlobalDigest ?? ComputeGlobalDigest();

    /// <summary>The clients that still take part.</summary>
    public IEnumerable<Participant> Included => Participants.Where(participant => participant.Exclusion is null);

    /// <summary>Collects the tensors that keep the global model's value, with the reasons.</summary>
    /// <remarks>These are quantized tensors, and tensors in which a client that still takes part has a fault.</remarks>
    public Dictionary<string, string> CollectDroppedTensors()
    {
        var faults = _tensorFaults.Where(fault => fault.Client.Exclusion is null).GroupBy(fault => fault.Tensor, StringComparer.Ordinal);
        var dropped = faults.ToDictionary(
            tensor => tensor.Key, tensor => Sentence.Fit(Join([.. tensor.Select(fault => fault.Sentence)])), StringComparer.Ordinal);
        foreach ((string tensor, string reason) in _tensors.Kept)
            dropped[tensor] = reason;
        return dropped;
    }

    /// <summary>Whether a tensor keeps the global model's value, as far as this client decides.</summary>
    public bool IsDropped(Participant participant, TensorInfo tensor) => _tensors.Kept.ContainsKey(tensor.Name) ||
        _tensorFaults.Any(fault => fault.Client == participant && fault.Tensor == tensor.Name);

    /// <summary>
    /// Opens and checks all clients. The caller disposes <see cref="Participants"/>, also after an exception.
    /// </summary>
    public void Run()
    {
        _options.Validate();
        if (_round.Updates.Count == 0)
            throw CreateRefusal("The round has no clients; at least one was expected.");
        if (_round.Global.DescribeNoModel() is { } other)
            throw CreateRefusal(other);
        _tensors.CheckGlobal();
        AddParticipants();
        if (_stages?.Merge is PairMerge merge)
            PlacesBeside.Check(_round, _output, merge);
        foreach (Participant participant in Participants)
        {
            _cancellationToken.ThrowIfCancellationRequested();
            Open(participant);
        }

        _weights.ReadWeights();
        _adapters.CheckConfigs();
        _pairs?.FindPairs(_adapters.Config, _cancellationToken);
        CheckBases();
        foreach (Participant participant in Included.ToList())
            _tensors.Check(participant);
        _adapters.CheckAlphas();
        if (_pairs is not null)
            CheckPairs(_pairs);
        foreach (Participant participant in Included.ToList())
            _statements.Check(participant);
        // after the checks of the models: a client that states no weight may not be a client of this model at all
        _weights.CheckAllOrNoneStated();
        CloseDropped();
        CheckQuorum();
    }

    /// <summary>
    /// Checks the round's one update as it arrives at a session: everything except what concerns several clients. The
    /// caller disposes <see cref="Participants"/>.
    /// </summary>
    public Participant RunOnArrival()
    {
        _tensors.CheckQuantizedGlobal();
        var participant = new Participant(_round.Updates[0], _names);
        Participants.Add(participant);
        Open(participant);
        _weights.ReadWeights();
        _adapters.CheckConfigs();
        _pairs?.FindPairs(_adapters.Config, _cancellationToken);
        CheckBases();
        if (participant.Exclusion is null)
            _tensors.Check(participant);
        _adapters.CheckAlphas();
        if (_pairs is not null && participant.Exclusion is null)
            CheckPairs(_pairs, participant);
        return participant;
    }

    /// <summary>Applies a policy to a client's fault.</summary>
    /// <exception cref="RoundRejectedException">The policy rejects the round.</exception>
    public void ApplyPolicy(FaultPolicy policy, RoundFault fault, Participant participant, string? tensor, string sentence)
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

    /// <summary>Applies the policy to a client whose update cannot be read or was changed.</summary>
    public void ApplyFilePolicy(Participant participant, InvalidModelException e)
    {
        RoundFault fault = RoundRejectedException.FaultOf(e);
        FaultPolicy policy = fault == RoundFault.Changed ? _options.OnChanged : _options.OnUnreadable;
        ApplyPolicy(policy, fault, participant, null, $"{participant.Name}: {e.Message}");
    }

    /// <summary>Drops the client whose update became unreadable or was changed during the round.</summary>
    /// <returns>False if the policy rejects the round.</returns>
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
    public void CloseDropped()
    {
        foreach (Participant participant in Participants.Where(participant => participant.Exclusion is not null))
            participant.Dispose();
    }

    /// <summary>
    /// Applies the policy to clients whose files were changed after the round opened them: the result may mix old and
    /// new values.
    /// </summary>
    /// <returns>Whether all files are unchanged.</returns>
    /// <exception cref="ChangedModelException">The global model was changed.</exception>
    public bool CheckFilesUnchanged()
    {
        _round.Global.RequireUnchanged();
        bool unchanged = true;
        foreach (Participant participant in Included.ToList())
        {
            try
            {
                participant.Source.RequireUnchanged();
            }
            catch (InvalidModelException e)
            {
                ApplyFilePolicy(participant, e);
                unchanged = false;
            }
        }

        return unchanged;
    }

    /// <summary>Refuses the round if fewer clients remain than the quorum.</summary>
    public void CheckQuorum()
    {
        int included = Included.Count();
        int quorum = _options.Quorum ?? Participants.Count(participant => !participant.HasZeroWeight);
        string[] reasons = [.. Participants.Select(participant => participant.Exclusion).OfType<string>()];
        if (included == 0)
            throw new RoundRejectedException(RoundFault.Quorum, $"No client remains in the round. {Join(reasons)}");
        if (included < quorum)
        {
            string clients = $"{included} of {Sentence.Count(Participants.Count, "client")} {Sentence.Form(included, "remains", "remain")}";
            string allClients = _options.Quorum is null ? " (all clients, as none was set)" : "";
            throw new RoundRejectedException(
                RoundFault.Quorum, $"{clients}; the quorum is {quorum}{allClients}. {Join(reasons)}".TrimEnd());
        }
    }

    /// <summary>Creates the exception that refuses the round, and not one client's update by itself.</summary>
    public static RoundRejectedException CreateRefusal(string sentence, Participant? participant = null) =>
        new(RoundFault.Round, sentence, participant?.Id);

    private void CheckPairs(PairCheck pairs)
    {
        foreach (Participant participant in Included.ToList())
        {
            _cancellationToken.ThrowIfCancellationRequested();
            CheckPairs(pairs, participant);
        }

        pairs.CheckStages();
    }

    private void CheckPairs(PairCheck pairs, Participant participant)
    {
        try
        {
            pairs.Check(participant);
        }
        catch (InvalidModelException e)
        {
            ApplyFilePolicy(participant, e);
        }
    }

    private static string Join(string[] sentences)
    {
        string listed = string.Join(' ', sentences.Take(ListedReasons));
        return sentences.Length > ListedReasons ? $"{listed} And {sentences.Length - ListedReasons} more." : listed;
    }

    private void AddParticipants()
    {
        HashSet<string> replaced = _output?.ReplacedFiles() ?? [];
        foreach (ClientUpdate update in _round.Updates.OrderBy(update => update.Id, StringComparer.Ordinal))
        {
            var participant = new Participant(update, _names);
            if (Participants.Count > 0 && Participants[^1].Id == update.Id)
                throw new RoundRejectedException(
                    RoundFault.Duplicate, $"{participant.Name} was added twice; ids must be unique.", participant.Id);
            // the output may replace the global model, but a client's update belongs to the client
            if (update.Path is { } path && replaced.Overlaps(ModelFolder.ListFiles(path)))
            {
                throw CreateRefusal(
                    $"{participant.NameWithFile}: the output would replace its update; another place was expected.", participant);
            }

            Participants.Add(participant);
        }
    }

    private void Open(Participant participant)
    {
        try
        {
            participant.Open(_round.Global, _files, _cancellationToken);
        }
        catch (InvalidModelException e)
        {
            ApplyFilePolicy(participant, e);
            participant.Dispose();
        }
    }

    /// <summary>Whether the rule adds the client's own change, whatever model it was made against.</summary>
    private bool MayBeLate(Participant participant) =>
        participant.Kind == UpdateKind.Delta && _stages?.All.Any(stage => stage.TakesLateDeltas) == true;

    private void CheckBases()
    {
        List<Participant> based = [.. Included.Where(participant => participant.BaseDigest is not null)];
        if (based.Count > 0)
        {
            string digest = GlobalDigest;
            foreach (Participant participant in based.Where(participant => participant.BaseDigest != digest && !MayBeLate(participant)))
            {
                ApplyPolicy(_options.OnBase, RoundFault.Base, participant, null,
                    $"{participant.NameWithFile} made its update against the model {Sentence.Clean(participant.BaseDigest!)}; " +
                    $"the round's global model is {digest}.");
            }
        }

        foreach (Participant participant in Included.ToList())
        {
            if (participant.ContradictedKind is { } stated)
            {
                Notes.Add($"{participant.NameWithFile} states the kind {stated}; " +
                    $"the caller states {participant.Kind.Text()}, which is used.");
            }

            if (participant is { Kind: UpdateKind.Delta, BaseDigest: null })
                Notes.Add($"{participant.NameWithFile} does not state which model its delta was made against.");
            if (_options.Round is { } number && participant.ReadOtherRound(number) is { } other)
            {
                ApplyStalePolicy(participant,
                    $"{participant.NameWithFile} states the round {Sentence.Quote(other)}; this is round {number}.");
            }
        }
    }

    private string ComputeGlobalDigest()
    {
        if (_options.Progress is not { } progress)
            return ModelDigest.Compute(_round.Global, _options.Threads, _cancellationToken);
        using var global = new ProgressSource(_round.Global, new ProgressMeter(progress, "check", _round.Global.TotalBytes));
        return ModelDigest.Compute(global, _options.Threads, _cancellationToken);
    }

    private void ApplyStalePolicy(Participant participant, string sentence)
    {
        if (_options.OnStale == StalePolicy.Note)
        {
            Notes.Add(sentence);
            return;
        }

        FaultPolicy policy = _options.OnStale == StalePolicy.DropClient ? FaultPolicy.DropClient : FaultPolicy.Reject;
        ApplyPolicy(policy, RoundFault.Stale, participant, null, sentence);
    }
}
