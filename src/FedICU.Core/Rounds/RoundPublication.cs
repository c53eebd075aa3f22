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
    // a sink that refused to begin may be writing another round's model, which must not be discarded
    private bool _stateBegun, _modelBegun;

    /// <summary>Where the model is written to.</summary>
    public TensorSink Model => _digest ?? output;

    /// <summary>The server's steps with the old and the new state.</summary>
    public StateRun State { get; private set; } = null!;

    /// <summary>Begins the model and the state.</summary>
    /// <param name="tensors">The output's tensors.</param>
    /// <param name="metadata">The output's metadata.</param>
    /// <param name="config">The configuration of an adapter, if it is not the global model's; else null.</param>
    public void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata, PeftAdapterConfig? config)
    {
        output.AdapterConfig = config;
        State = state.Begin();
        _stateBegun = true;
        Model.Begin(tensors, metadata);
        _modelBegun = true;
    }

    /// <summary>Publishes the model, then the state.</summary>
    public void Commit()
    {
        state.Seal(_digest?.Digest);
        Model.Commit();
        _modelBegun = false;
        state.Publish();
        _stateBegun = false;
    }

    /// <summary>Discards what was not committed.</summary>
    public void Dispose()
    {
        if (_modelBegun)
            Model.Abort();
        if (_stateBegun)
            state.Abort();
    }
}
