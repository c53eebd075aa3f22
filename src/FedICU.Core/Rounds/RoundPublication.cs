using FedICU.Files;
using FedICU.Rounds.State;

namespace FedICU.Rounds;

/// <summary>
/// The output of a round while it is written: the model and the server's state. A crash leaves both old or both new, or
/// a new model beside a sealed state that the next round completes.
/// </summary>
/// <param name="output">Receives the model.</param>
/// <param name="state">The server's state.</param>
internal sealed class RoundPublication(TensorSink output, StateKeeper state) : IDisposable
{
    private readonly DigestSink? _digest = state.NeedsDigest ? new DigestSink(output) : null;
    private bool _begun, _committed;

    /// <summary>Where the model is written to.</summary>
    public TensorSink Model => _digest ?? output;

    /// <summary>The server's steps with the old and the new state.</summary>
    public StateRun State { get; private set; } = null!;

    /// <summary>Begins the model and the state.</summary>
    public void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        _begun = true;
        State = state.Begin();
        Model.Begin(tensors, metadata);
    }

    /// <summary>Publishes the model, then the state.</summary>
    public void Commit()
    {
        state.Seal(_digest?.Digest);
        Model.Commit();
        _committed = true;
        state.Publish();
    }

    /// <summary>Discards what was not committed.</summary>
    public void Dispose()
    {
        if (!_begun || _committed)
            return;
        Model.Abort();
        state.Abort();
    }
}
