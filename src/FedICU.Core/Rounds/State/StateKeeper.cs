using System.Runtime.InteropServices;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.State;

/// <summary>
/// The server's state of a round: the old one, opened and checked, and the new one while it is written.
/// </summary>
internal abstract class StateKeeper(StageSequence stages) : IDisposable
{
    /// <summary>The finished rounds that the old state holds; 0 if this is the first round.</summary>
    public long RoundsFinished { get; protected init; }

    /// <summary>Whether the model's digest must be known to publish the state.</summary>
    public virtual bool NeedsDigest => false;

    /// <summary>The old state; null in the first round.</summary>
    public TensorSource? Before { get; protected init; }

    /// <summary>Opens the state that a round was given.</summary>
    /// <param name="stages">The rule.</param>
    /// <param name="round">The round.</param>
    /// <param name="check">Knows the global model's digest and takes notes.</param>
    /// <param name="readOnly">
    /// Whether nothing may be written, for a check: a pending state is then neither completed nor removed.
    /// </param>
    /// <exception cref="FedIcuException">
    /// The state belongs to another rule, model or round, or cannot be read.
    /// </exception>
    public static StateKeeper Open(StageSequence stages, AggregationRound round, RoundCheck check, bool readOnly = false)
    {
        bool keeps = stages.KeepsState;
        if (round.State is null)
        {
            if (keeps)
            {
                check.Notes.Add(
                    $"{Sentence.Quote(stages.Name)} keeps a state between rounds and was given no place for it: " +
                    "this round is a first one, and its state is not kept.");
            }

            return new NoState(stages);
        }

        if (!keeps)
            throw RoundCheck.CreateRefusal($"{Sentence.Quote(stages.Name)} keeps no state between rounds, but a state was given.");
        return round.State.Memory is not null
            ? new StateInMemory(stages, round, round.State)
            : new StateInFile(stages, round, check, readOnly);
    }

    /// <summary>Hands the old state's numbers to the plan.</summary>
    public void ReadScalars(RoundPlan plan)
    {
        foreach ((string key, StateScalar scalar) in stages.Scalars)
        {
            double value = scalar.Initial;
            Before?.Read(Before.Find(key)!, 0, MemoryMarshal.AsBytes(new Span<double>(ref value)));
            plan.SetScalar(scalar.Name, value);
        }
    }

    /// <summary>Finds the old state of a tensor; nothing in a first round.</summary>
    public IEnumerable<TensorInfo> FindBefore(TensorInfo tensor) =>
        stages.State.Select(state => Before?.Find(StateTensors.Describe(tensor, state.Key).Name)).OfType<TensorInfo>();

    /// <summary>Begins the new state.</summary>
    public StateRun Begin() => new(stages, Before, BeginAfter());

    /// <summary>
    /// Makes the new state safe on its disk, but not visible yet. Called before the model is published.
    /// </summary>
    /// <param name="digest">The new model's digest; null unless <see cref="NeedsDigest"/>.</param>
    public virtual void Seal(string? digest) { }

    /// <summary>Replaces the old state. Called after the model was published.</summary>
    public abstract void Publish();

    /// <summary>Forgets a new state that was not published. Never throws.</summary>
    public abstract void Abort();

    public virtual void Dispose() { }

    /// <summary>Begins the new state; null if it is not kept.</summary>
    protected abstract TensorSink? BeginAfter();

    /// <summary>No state is kept: rules without one, and first rounds of which nothing remains.</summary>
    private sealed class NoState(StageSequence stages) : StateKeeper(stages)
    {
        public override void Publish() { }

        public override void Abort() { }

        protected override TensorSink? BeginAfter() => null;
    }
}
