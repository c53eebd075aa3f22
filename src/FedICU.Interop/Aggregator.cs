using System.Buffers;
using System.Text;
using System.Text.Json;
using FedICU.Diagnostics;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>
/// An aggregator and its round, as the C interface has them. Calls from several threads wait for each other, except
/// <see cref="Abort"/>, which cancels the one that runs.
/// </summary>
internal sealed class Aggregator : IDisposable
{
    // characters; chosen, so that the client's name fits in a message of 1,000 characters too
    private const int LongestReason = 700;

    private readonly Lock _gate = new();
    private readonly ConfiguredRound _configured;
    private readonly string _strategy;
    private readonly RoundState? _state;
    private readonly List<IDisposable> _held = [];
    private readonly List<ClientUpdate> _updates = [];
    // the updates' places in the list, by their clients' ids
    private readonly Dictionary<string, int> _places = new(StringComparer.Ordinal);
    private readonly List<(nint First, nint End, string Owner)> _borrowed = [];
    private TensorSource? _global;
    private bool _begun, _disposed;
    private long? _round, _lastRound;
    private RoundReport? _report;
    private volatile CancellationTokenSource? _finishing;

    public Aggregator(AggregatorSettings settings)
    {
        _strategy = settings.Strategy ?? throw new InvalidOptionsException(
            [$"strategy is missing; one of {string.Join(", ", Strategies.Registry.Names)} was expected."]);
        if (settings.Threads < 0)
            throw new InvalidOptionsException([$"threads is {settings.Threads}; at least 0 was expected."]);
        _configured = Strategies.Registry.Create(_strategy, InteropJson.ToText(settings.Settings), new RoundOptions
        {
            Threads = settings.Threads,
            Statistics = settings.Statistics,
            Backend = Backends.Create(settings.Backend),
        });
        _state = CreateState(settings);
    }

    /// <summary>Begins a round and drops an unfinished one.</summary>
    /// <param name="round">Its number; negative: none.</param>
    public void Begin(long round)
    {
        lock (_gate)
        {
            RequireAlive();
            Drop();
            (_round, _begun) = (round < 0 ? null : round, true);
        }
    }

    public void SetGlobal(CallerTensors tensors, bool borrowed) =>
        SetGlobal(tensors.Model, tensors, borrowed ? "the global model" : null);

    public void SetGlobal(string path)
    {
        TensorSource source = TensorSource.Open(path);
        SetGlobal(source, source, null);
    }

    /// <summary>Adds a client's tensors.</summary>
    /// <param name="client">The client's name.</param>
    /// <param name="weight">Its weight as stated, which the round checks; null: from the metadata.</param>
    /// <param name="tensors">The tensors, disposed of with the round.</param>
    /// <param name="kind">What the tensors mean; null: from the metadata.</param>
    /// <param name="borrowed">Whether the tensors are in the caller's memory.</param>
    public void Add(string client, double? weight, CallerTensors tensors, UpdateKind? kind, bool borrowed) => AddUpdate(
        () => ClientUpdate.FromTensors(client, tensors.Model, weight, kind, tensors.UnknownTypes), tensors,
        borrowed ? $"client {Sentence.Quote(client)}" : null);

    /// <summary>Adds a client's adapter in the caller's memory.</summary>
    /// <param name="client">The client's name.</param>
    /// <param name="configJson">The configuration; where it cannot be read, the client's update cannot either.</param>
    /// <param name="add">Adds the adapter's tensors.</param>
    public void AddAdapter(string client, string configJson, Action<PeftAdapterConfig> add)
    {
        PeftAdapterConfig config;
        try
        {
            config = ParseConfig(configJson);
        }
        catch (InvalidModelException e)
        {
            AddFault(client, ClientFault.Unreadable, e.Message);
            return;
        }

        add(config);
    }

    /// <summary>Parses the content of an adapter_config.json.</summary>
    public static PeftAdapterConfig ParseConfig(string json) =>
        PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(json), "adapter_config.json");

    /// <summary>Adds a client's file, which is read when the round finishes.</summary>
    public void Add(string client, double weight, string path) =>
        AddUpdate(() => ClientUpdate.FromFile(client, path, double.IsNaN(weight) ? null : weight), null, null);

    /// <summary>Adds a client without an update, so that the round's policies decide about it.</summary>
    public void AddFault(string client, ClientFault fault, string reason)
    {
        RoundFault kind = fault switch
        {
            ClientFault.Unreadable => RoundFault.Unreadable,
            ClientFault.Weight => RoundFault.Weight,
            _ => throw new ArgumentException(
                $"Client {Sentence.Quote(client)}: the fault {(int)fault} is unknown; 1 (unreadable) or 2 (weight) was expected."),
        };
        AddUpdate(() => ClientUpdate.FromFault(client, kind, Sentence.Clean(reason, LongestReason)), null, null);
    }

    /// <summary>Sets what a client that was added states about its training.</summary>
    public void SetStatements(string client, ClientStatementTexts stated) => Hold(null, () =>
    {
        int k = FindUpdate(client);
        ClientStatements kept = _updates[k].Statements;
        _updates[k] = _updates[k].WithStatements(stated.Texts, kept with { Control = stated.Control });
    });

    /// <summary>Sets the control variates of a client that was added. They are disposed of with the round.</summary>
    public void SetControl(string client, CallerTensors control, bool borrowed) => Hold(control, () =>
    {
        int k = FindUpdate(client);
        _updates[k] = _updates[k].WithStatements(_updates[k].StatedTexts, _updates[k].Statements with { ControlTensors = control.Model });
        RememberBorrowed(control.Model, borrowed ? $"client {Sentence.Quote(client)}" : null);
    });

    /// <summary>Aggregates the round into tensors in the caller's memory.</summary>
    public void Finish(List<(TensorInfo Info, nint Data)> outputs)
    {
        Finish(() =>
        {
            foreach ((TensorInfo info, nint data) in outputs)
            {
                foreach ((nint first, nint end, string owner) in _borrowed)
                {
                    if (data < end && first < data + (nint)info.ByteLength)
                    {
                        throw new ArgumentException(
                            $"The memory for the result's tensor {Sentence.Quote(info.Name)} overlaps memory of {owner}; " +
                            "separate memory was expected.");
                    }
                }
            }

            return new CallerSink(outputs);
        });
    }

    /// <summary>Aggregates the round into a file or folder.</summary>
    public void Finish(string path) => Finish(() => TensorSink.To(path, _global!));

    /// <summary>Aggregates the round into the library's memory.</summary>
    public Update FinishModel() => Update.Write(sink => Finish(() => sink).AdapterConfig);

    /// <summary>Cancels a <see cref="Finish(string)"/> that runs on another thread, and drops the round.</summary>
    public void Abort()
    {
        try
        {
            _finishing?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // it ended by itself at this moment
        }

        lock (_gate)
            Drop();
    }

    public string ReportJson()
    {
        lock (_gate)
            return _report?.ToJson() ?? throw new InvalidOperationException("There is no report yet: no round has been finished.");
    }

    public string ExportState()
    {
        lock (_gate)
        {
            var state = new AggregatorState(Exports.Version, _strategy, _lastRound, _state?.RoundsFinished ?? 0);
            return JsonSerializer.Serialize(state, InteropJson.Default.AggregatorState);
        }
    }

    public void ImportState(AggregatorState state)
    {
        if (state.Version != Exports.Version || state.Strategy != _strategy)
        {
            throw new InvalidOptionsException(
            [
                $"the state is for strategy '{state.Strategy}', version {state.Version}; " +
                $"'{_strategy}', version {Exports.Version} was expected.",
            ]);
        }

        lock (_gate)
        {
            long kept = _state?.RoundsFinished ?? 0;
            if (state.InMemory != kept)
            {
                throw new InvalidOptionsException(
                [
                    $"the state counts {Sentence.Count(state.InMemory, "round")} of '{_strategy}' in memory; this aggregator has {kept}. " +
                    "A rule's state lives on with its aggregator, or in a file (\"state\").",
                ]);
            }

            _lastRound = state.Round;
        }
    }

    public void Dispose()
    {
        lock (_gate)
        {
            Drop();
            _disposed = true;
            (_configured.Options.Backend as IDisposable)?.Dispose();
            _state?.Dispose();
        }
    }

    /// <summary>Creates the place of the rule's state; null if the rule keeps none.</summary>
    private RoundState? CreateState(AggregatorSettings settings)
    {
        if (settings.State is "" || settings.StateOut is "")
            throw new InvalidOptionsException([$"{(settings.State is "" ? "state" : "stateOut")} is empty; a path was expected."]);
        if (settings.StateOut is not null && settings.State is null)
            throw new InvalidOptionsException(["stateOut was given without state; both were expected, or state alone."]);
        if (settings.State is { } path && !_configured.Aggregator.KeepsState)
            throw new InvalidOptionsException([$"state is {Sentence.Quote(path)}, but '{_strategy}' keeps no state between rounds."]);
        if (!_configured.Aggregator.KeepsState)
            return null;
        return settings.State is null ? RoundState.InMemory() : RoundState.InFile(settings.State, settings.StateOut);
    }

    private void SetGlobal(TensorSource source, IDisposable held, string? owner) => Hold(held, () =>
    {
        if (_global is not null)
            throw new InvalidOperationException("The round already has a global model.");
        _global = source;
        RememberBorrowed(source, owner);
    });

    private void AddUpdate(Func<ClientUpdate> make, CallerTensors? held, string? owner) => Hold(held, () =>
    {
        ClientUpdate update = make();
        if (!_places.TryAdd(update.Id, _updates.Count))
            throw new ArgumentException($"Client {Sentence.Quote(update.Id)} was added already.");
        _updates.Add(update);
        if (held is not null)
            RememberBorrowed(held.Model, owner);
    });

    private int FindUpdate(string client) => _places.TryGetValue(client, out int k) ? k : throw new ArgumentException(
        $"Client {Sentence.Quote(client)} has no update in this round; a client that was added was expected.");

    /// <summary>
    /// Runs a step that adds something to the round. Keeps the object until the round ends, or disposes of it on a
    /// failure.
    /// </summary>
    private void Hold(IDisposable? held, Action step)
    {
        try
        {
            lock (_gate)
            {
                RequireBegun();
                step();
                if (held is not null)
                    _held.Add(held);
            }
        }
        catch
        {
            held?.Dispose();
            throw;
        }
    }

    /// <summary>Remembers the addresses of borrowed tensors, so that no result is written there.</summary>
    private unsafe void RememberBorrowed(TensorSource source, string? owner)
    {
        foreach (TensorInfo tensor in owner is null ? [] : source.Tensors)
        {
            if (source.TryPin(tensor, out MemoryHandle memory))
                _borrowed.Add(((nint)memory.Pointer, (nint)memory.Pointer + (nint)tensor.ByteLength, owner!));
        }
    }

    private AggregationResult Finish(Func<TensorSink> open)
    {
        lock (_gate)
        {
            RequireBegun();
            if (_global is null)
            {
                throw new InvalidOperationException(
                    "The round has no global model: fedicu_set_global or fedicu_set_global_file must be called before fedicu_finish.");
            }

            using var cancellation = new CancellationTokenSource();
            AggregationResult result;
            _finishing = cancellation;
            try
            {
                TensorSink sink = open();
                var round = new AggregationRound(_global, _configured.Options with { Round = _round }) { State = _state };
                _updates.ForEach(round.Add);
                result = _configured.Aggregator.AggregateAsync(round, sink, cancellation.Token).GetAwaiter().GetResult();
            }
            finally
            {
                _finishing = null;
            }

            (_report, _lastRound) = (result.Report, _round);
            Drop();
            return result;
        }
    }

    private void RequireBegun()
    {
        RequireAlive();
        if (!_begun)
            throw new InvalidOperationException("No round has begun: fedicu_begin_round must be called first.");
    }

    private void RequireAlive()
    {
        if (_disposed)
            throw new ArgumentException("The aggregator was destroyed.");
    }

    private void Drop()
    {
        _updates.Clear();
        _places.Clear();
        _borrowed.Clear();
        _held.ForEach(held => held.Dispose());
        _held.Clear();
        (_global, _begun) = (null, false);
    }
}
