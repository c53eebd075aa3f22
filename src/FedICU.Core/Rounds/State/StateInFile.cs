using FedICU.Files;
using FedICU.Files.Publishing;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.State;

/// <summary>A state in a file (<see cref="RoundState.InFile"/>).</summary>
internal sealed class StateInFile : StateKeeper
{
    private readonly ServerState? _before;
    private readonly StateFile _after;
    private readonly List<TensorInfo> _tensors;
    private readonly Dictionary<string, string> _metadata;

    /// <exception cref="FedIcuException">
    /// The state belongs to another rule, model or round, or cannot be read.
    /// </exception>
    public StateInFile(StageSequence stages, AggregationRound round, RoundCheck check, bool readOnly) : base(stages)
    {
        RoundState state = round.State!;
        string path = state.Path!, before = path;
        _tensors = StateTensors.List(round.Global, stages);
        string? recovered = readOnly
            ? PendingState.Foresee(path, () => check.GlobalDigest, state.Options, out before)
            : PendingState.Recover(path, () => check.GlobalDigest, state.Options);
        if (recovered is not null)
            check.Notes.Add(recovered);
        if (readOnly)
            StagedFile.CheckPlace(state.OutputPath ?? path, state.Options.FollowLinks);
        if (File.Exists(before))
        {
            _before = ServerState.Open(before, stages.Name, _tensors, () => check.GlobalDigest, round.Options.Round);
            (Before, RoundsFinished) = (_before.Source, _before.Rounds);
        }
        else if (state.OutputPath is not null)
        {
            throw RoundCheck.CreateRefusal(
                $"The state {Sentence.Quote(path)} does not exist; it must exist if the new state is written elsewhere.");
        }
        else
        {
            check.Notes.Add($"The state {Sentence.Quote(path)} does not exist yet: this is a first round.");
        }

        _after = new StateFile(state.OutputPath ?? path, state.Options);
        _metadata = ServerState.Describe(stages.Name, RoundsFinished + 1, round.Options.Round);
    }

    public override bool NeedsDigest => true;

    public override void Seal(string? digest) => _after.Seal(digest!);

    public override void Publish() => _after.Commit();

    // a sealed state stays: the model's commit may have failed after it became visible, and the next round decides
    public override void Abort() => _after.Abort();

    public override void Dispose()
    {
        base.Dispose();
        _before?.Dispose();
    }

    protected override TensorSink BeginAfter()
    {
        _after.Begin(_tensors, _metadata);
        return _after;
    }
}
