using System.Collections.Frozen;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.State;

/// <summary>A state in memory (<see cref="RoundState.InMemory"/>).</summary>
internal sealed class StateInMemory : StateKeeper
{
    private readonly RoundState _state;
    private readonly string _rule;
    private readonly List<TensorInfo> _tensors;
    private readonly long? _round;

    /// <exception cref="RoundRejectedException">The state belongs to another rule, model or round.</exception>
    public StateInMemory(StageSequence stages, AggregationRound round, RoundState state) : base(stages)
    {
        (_state, _rule, _tensors) = (state, stages.Name, StateTensors.List(round.Global, stages));
        _round = round.Options.Round;
        if (!state.TryLend())
            throw RoundCheck.CreateRefusal("The state in memory is in use by another round.");
        if (state.Rule is null)
            return;
        try
        {
            Check(stages, state);
        }
        catch
        {
            state.Return();
            throw;
        }

        (Before, RoundsFinished) = (state.Memory!.Model, state.RoundsFinished);
    }

    private void Check(StageSequence stages, RoundState state)
    {
        if (state.Rule != stages.Name)
        {
            throw RoundCheck.CreateRefusal(
                $"The state in memory is of {Sentence.Quote(state.Rule!)}; a state of {Sentence.Quote(stages.Name)} was expected.");
        }

        if (state.Round >= _round)
        {
            throw RoundCheck.CreateRefusal(
                $"The state in memory is of round {state.Round}; one of a round before {_round} was expected.");
        }

        if (!state.Memory!.Model.Tensors.SequenceEqual(_tensors))
            throw RoundCheck.CreateRefusal("The state in memory is of a model with other tensors than the global model's.");
    }

    public override void Publish()
    {
        _state.Memory!.Commit();
        (_state.Rule, _state.RoundsFinished, _state.Round) = (_rule, RoundsFinished + 1, _round);
    }

    public override void Abort() => _state.Memory!.Abort();

    public override void Dispose()
    {
        base.Dispose();
        _state.Return();
    }

    protected override TensorSink BeginAfter()
    {
        _state.Memory!.Begin(_tensors, FrozenDictionary<string, string>.Empty);
        return _state.Memory;
    }
}
