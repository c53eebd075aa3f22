using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Sessions;

/// <summary>Checks an update by itself as it arrives at a session, and copies it into the session's folder.</summary>
internal sealed class SessionIntake(
    TensorSource global, string baseDigest, RoundOptions options, SessionOptions arrivals, SessionSpool spool)
{
    // the session owns its folder, and itself removes files that a killed process left there
    private static readonly OutputOptions SpoolFiles = new() { IsOwned = true };

    /// <summary>Checks an update and copies it.</summary>
    /// <param name="update">The update.</param>
    /// <param name="path">
    /// Set to the path of the copy, which may be incomplete after an exception; null if no copying began.
    /// </param>
    /// <param name="checkWeight">
    /// Receives the client's name in sentences, its id and the weight it states; throws if the weight does not fit the
    /// session.
    /// </param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <returns>The journal's line for the update.</returns>
    /// <exception cref="RoundRejectedException">The update is refused.</exception>
    /// <exception cref="InvalidModelException">The update cannot be read.</exception>
    public JournalLine Copy(
        ClientUpdate update, ref string? path, Action<string, string, double?> checkWeight, CancellationToken cancellationToken)
    {
        string? copy = null;
        try
        {
            return Check(update, checkWeight, Store, cancellationToken);
        }
        finally
        {
            path = copy;
        }

        (string, long, string) Store(Participant participant, RoundCheck check)
        {
            TensorSource source = participant.Source;
            copy = spool.NewPlace(isFolder: source.AdapterConfig is not null);
            TensorSink sink = source.AdapterConfig is { } config
                ? TensorSink.ToAdapterFolder(copy, config, SpoolFiles)
                : TensorSink.ToFile(copy, SpoolFiles);
            source.SaveTo(AddValueCheck(sink, participant, check), cancellationToken);
            (long length, string digest) = SessionSpool.Measure(copy, cancellationToken);
            return (copy, length, digest);
        }
    }

    /// <summary>Checks an upload that is in the session's folder already.</summary>
    /// <param name="upload">The upload.</param>
    /// <param name="file">Its path, length and checksum.</param>
    /// <param name="checkWeight">As for <see cref="Copy"/>.</param>
    /// <param name="cancellationToken">Ends the check.</param>
    /// <returns>The journal's line for the update.</returns>
    /// <exception cref="RoundRejectedException">The update is refused.</exception>
    /// <exception cref="InvalidModelException">The update cannot be read.</exception>
    public JournalLine Check(
        ClientUpdate upload, (string Path, long Length, string Digest) file, Action<string, string, double?> checkWeight,
        CancellationToken cancellationToken) =>
        Check(
            upload, checkWeight,
            (participant, check) =>
            {
                if (ChecksValues)
                    participant.Source.SaveTo(AddValueCheck(TensorSink.Discard, participant, check), cancellationToken);
                return file;
            },
            cancellationToken);

    private JournalLine Check(
        ClientUpdate update, Action<string, string, double?> checkWeight, Func<Participant, RoundCheck, (string, long, string)> store,
        CancellationToken cancellationToken)
    {
        if (update.Statements is { Control: not null } or { ControlTensors: not null })
        {
            throw new RoundRejectedException(
                RoundFault.Statement,
                $"Client {Sentence.Quote(update.Id)} sends control variates, which a session does not keep; the option control=derived " +
                "of 'scaffold' needs none.", update.Id);
        }

        var round = new AggregationRound(global, CreateArrivalOptions(options)) { GlobalDigest = baseDigest };
        round.Add(update);
        var check = new RoundCheck(round, output: null, cancellationToken, FindStages());
        try
        {
            Participant participant = check.RunOnArrival();
            double? weight = participant.ReadWeight();
            checkWeight(participant.NameWithFile, update.Id, weight);
            (string path, long length, string digest) = store(participant, check);
            return new JournalLine
            {
                Add = update.Id,
                Weight = weight,
                Kind = participant.Kind,
                Base = participant.BaseDigest,
                States = update.Statements == new ClientStatements() ? null : update.Statements,
                File = Path.GetFileName(path),
                Length = length,
                Digest = digest,
            };
        }
        finally
        {
            check.Participants.ForEach(participant => participant.Dispose());
        }
    }

    private bool ChecksValues => arrivals.CheckValues && options.OnNonFinite != FaultPolicy.DropTensor;

    /// <summary>Sorts the rule's stages; null if none were given, or if their merge is the implied mean.</summary>
    private StageSequence? FindStages() =>
        arrivals.Stages?.OfType<MergeRule>().FirstOrDefault() is { } merge ? new StageSequence(arrivals.Stages, merge) : null;

    /// <summary>
    /// Creates the options of the check on arrival: a fault that would drop the client from the round refuses its
    /// update, as the sender is still connected and gets the answer.
    /// </summary>
    private static RoundOptions CreateArrivalOptions(RoundOptions options)
    {
        return options with
        {
            OnMissing = Strict(options.OnMissing),
            OnExtra = Strict(options.OnExtra),
            OnShape = Strict(options.OnShape),
            OnDType = Strict(options.OnDType),
            OnBase = FaultPolicy.Reject,
            OnUnreadable = FaultPolicy.Reject,
            OnWeight = FaultPolicy.Reject,
            OnStatement = Strict(options.OnStatement),
            OnChanged = FaultPolicy.Reject,
            OnConfig = options.OnConfig == ConfigPolicy.DropClient ? ConfigPolicy.Reject : options.OnConfig,
            OnQuantized = options.OnQuantized == QuantizedPolicy.DropClient ? QuantizedPolicy.Reject : options.OnQuantized,
            OnStale = options.OnStale == StalePolicy.DropClient ? StalePolicy.Reject : options.OnStale,
            Progress = null,
        };

        static FaultPolicy Strict(FaultPolicy policy) => policy == FaultPolicy.DropClient ? FaultPolicy.Reject : policy;
    }

    /// <summary>
    /// Wraps a sink: the wrapper refuses NaN and infinite values in tensors that the round would read, if values are
    /// checked on arrival.
    /// </summary>
    private TensorSink AddValueCheck(TensorSink sink, Participant participant, RoundCheck check)
    {
        if (!ChecksValues)
            return sink;
        Dictionary<string, string> dropped = check.CollectDroppedTensors();
        // by the names in the update, which may differ from the model's by prefixes and tied names
        var read = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (TensorInfo tensor in global.Tensors.Where(tensor => tensor.DType.IsComputed && !dropped.ContainsKey(tensor.Name)))
        {
            if (participant.Find(tensor.Name) is { } own)
                read[participant.IsPacked(own) ? own.Name + SparseUpdate.ValuesSuffix : own.Name] = own.Name;
        }

        return new ValueCheckSink(
            sink,
            tensor => read.ContainsKey(tensor.Name),
            (tensor, count) => new RoundRejectedException(
                RoundFault.NonFinite,
                $"{participant.NameWithFile}: tensor {Sentence.Quote(read[tensor.Name])} has {Sentence.NonFinite(count)}; " +
                "finite values were expected.",
                participant.Id, read[tensor.Name]));
    }
}
