using System.Text.Json;
using System.Text.Json.Serialization;
using FedICU.Compute;
using FedICU.Diagnostics;
using FedICU.Registry;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>What fedicu_create's JSON says.</summary>
internal sealed record AggregatorSettings
{
    public string? Strategy { get; init; }

    public Dictionary<string, JsonElement>? Settings { get; init; }

    public int Threads { get; init; }

    public string? Backend { get; init; }

    public bool Statistics { get; init; }
}

/// <summary>What fedicu_mask's JSON says.</summary>
internal sealed record MaskSettings
{
    public Dictionary<string, JsonElement>? Settings { get; init; }

    public int Threads { get; init; }

    public long? Round { get; init; }

    public bool Dense { get; init; }
}

/// <summary>What an aggregator remembers.</summary>
internal sealed record AggregatorState(int Version, string Strategy, long? Round);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.CamelCase, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow)]
[JsonSerializable(typeof(AggregatorSettings)), JsonSerializable(typeof(MaskSettings)), JsonSerializable(typeof(AggregatorState)), JsonSerializable(typeof(IReadOnlyDictionary<string, string>)), JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class InteropJson : JsonSerializerContext;

/// <summary>fedicu_fault of fedicu.h.</summary>
internal enum ClientFault
{
    Unreadable = 1,
    Weight = 2,
}

/// <summary>An aggregator and its round, as the C interface has them. Calls wait for each other; <see cref="Abort"/> waits for none.</summary>
internal sealed class Aggregator : IDisposable
{
    // leaves room in a sentence of 1,000 characters for the client's name
    private const int LongestReason = 700;

    private readonly Lock _gate = new();
    private readonly ConfiguredRound _configured;
    private readonly string _strategy;
    private readonly List<IDisposable> _held = [];
    private readonly List<ClientUpdate> _updates = [];
    private readonly List<(nint First, nint End, string Whose)> _borrowed = [];
    private TensorSource? _global;
    private bool _begun, _disposed;
    private long? _round, _lastRound;
    private RoundReport? _report;
    private volatile CancellationTokenSource? _finishing;

    public Aggregator(AggregatorSettings settings)
    {
        _strategy = settings.Strategy ?? throw new InvalidOptionsException([$"strategy is missing; one of {string.Join(", ", AggregatorCatalog.Names)} was expected."]);
        if (settings.Threads < 0)
            throw new InvalidOptionsException([$"threads is {settings.Threads}; at least 0 was expected."]);
        _configured = AggregatorCatalog.Create(_strategy, Pairs(settings.Settings), new RoundOptions { Threads = settings.Threads, Statistics = settings.Statistics, Backend = Backends.Create(settings.Backend) });
    }

    public static IEnumerable<KeyValuePair<string, string>> Pairs(Dictionary<string, JsonElement>? settings) =>
        (settings ?? []).Select(setting => new KeyValuePair<string, string>(setting.Key, setting.Value.ValueKind == JsonValueKind.String ? setting.Value.GetString()! : setting.Value.GetRawText()));

    public void Begin(long round)
    {
        lock (_gate)
        {
            RequireAlive();
            Drop();
            (_round, _begun) = (round < 0 ? null : round, true);
        }
    }

    public void SetGlobal(CallerTensors tensors, bool borrowed) => Set(tensors.Model, tensors, borrowed ? "the global model" : null);

    public void SetGlobal(string path)
    {
        TensorSource source = TensorSource.Open(path);
        Set(source, source, null);
    }

    /// <summary>Adds a client's tensors.</summary>
    /// <param name="client">The client's name.</param>
    /// <param name="weight">Its weight as it is stated, for the round's check; null: from the metadata.</param>
    /// <param name="tensors">The tensors, freed with the round.</param>
    /// <param name="kind">What they mean; null: from the metadata.</param>
    /// <param name="borrowed">Whether they are the caller's memory.</param>
    public void Add(string client, double? weight, CallerTensors tensors, UpdateKind? kind, bool borrowed) =>
        Take(
            () => ClientUpdate.FromTensors(client, tensors.Model, weight, kind, tensors.UnknownTypes), tensors,
            borrowed ? $"client {Sentence.Quote(client)}" : null);

    public void Add(string client, double weight, string path) => Take(() => ClientUpdate.FromFile(client, path, double.IsNaN(weight) ? null : weight), null, null);

    public void AddFault(string client, ClientFault fault, string reason)
    {
        RoundFault kind = fault switch
        {
            ClientFault.Unreadable => RoundFault.Unreadable,
            ClientFault.Weight => RoundFault.Weight,
            _ => throw new ArgumentException(
                $"Client {Sentence.Quote(client)}: the fault {(int)fault} is unknown; 1 (unreadable) or 2 (weight) was expected."),
        };
        Take(() => ClientUpdate.FromFault(client, kind, Sentence.Clean(reason, LongestReason)), null, null);
    }

    public void Finish(List<(TensorInfo Info, nint Data)> places)
    {
        Finish(() =>
        {
            foreach ((TensorInfo info, nint data) in places)
            {
                foreach ((nint first, nint end, string whose) in _borrowed)
                {
                    if (data < end && first < data + (nint)info.ByteLength)
                        throw new ArgumentException($"The place for tensor {Sentence.Quote(info.Name)} is memory that {whose} lies in; memory of its own was expected.");
                }
            }

            return new CallerSink(places);
        });
    }

    public void Finish(string path) => Finish(() => TensorSink.To(path, _global!));

    /// <summary>Ends a round under way and drops it.</summary>
    public void Abort()
    {
        try
        {
            _finishing?.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // it ended by itself, this moment
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
            return JsonSerializer.Serialize(new AggregatorState(Exports.Version, _strategy, _lastRound), InteropJson.Default.AggregatorState);
    }

    public void ImportState(AggregatorState state)
    {
        if (state.Version != Exports.Version || state.Strategy != _strategy)
            throw new InvalidOptionsException([$"the state is of strategy '{state.Strategy}', version {state.Version}; '{_strategy}', version {Exports.Version} was expected."]);
        lock (_gate)
            _lastRound = state.Round;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            Drop();
            _disposed = true;
            (_configured.Options.Backend as IDisposable)?.Dispose();
        }
    }

    private void Set(TensorSource source, IDisposable held, string? lender) => Hold(held, () =>
    {
        if (_global is not null)
            throw new InvalidOperationException("The round has a global model already.");
        _global = source;
        Borrow(source, lender);
    });

    private void Take(Func<ClientUpdate> make, CallerTensors? held, string? lender) => Hold(held, () =>
    {
        ClientUpdate update = make();
        if (_updates.Exists(other => other.Id == update.Id))
            throw new ArgumentException($"Client {Sentence.Quote(update.Id)} was added already.");
        _updates.Add(update);
        if (held is not null)
            Borrow(held.Model, lender);
    });

    /// <summary>Keeps what a step adds to the round, or frees it where the step fails.</summary>
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

    private unsafe void Borrow(TensorSource source, string? lender)
    {
        foreach (TensorInfo tensor in lender is null ? [] : source.Tensors)
        {
            if (source.TryPin(tensor, out System.Buffers.MemoryHandle memory))
                _borrowed.Add(((nint)memory.Pointer, (nint)memory.Pointer + (nint)tensor.ByteLength, lender!));
        }
    }

    private void Finish(Func<TensorSink> open)
    {
        lock (_gate)
        {
            RequireBegun();
            if (_global is null)
                throw new InvalidOperationException("The round has no global model: fedicu_set_global or fedicu_set_global_file comes before fedicu_finish.");
            using var cancellation = new CancellationTokenSource();
            _finishing = cancellation;
            try
            {
                TensorSink sink = open();
                using var owned = sink as IDisposable;
                var round = new AggregationRound(_global, _configured.Options with { Round = _round });
                _updates.ForEach(round.Add);
                _report = _configured.Aggregator.AggregateAsync(round, sink, cancellation.Token).GetAwaiter().GetResult().Report;
            }
            finally
            {
                _finishing = null;
            }

            _lastRound = _round;
            Drop();
        }
    }

    private void RequireBegun()
    {
        RequireAlive();
        if (!_begun)
            throw new InvalidOperationException("No round was begun: fedicu_begin_round comes first.");
    }

    private void RequireAlive()
    {
        if (_disposed)
            throw new ArgumentException("The aggregator was destroyed.");
    }

    private void Drop()
    {
        _updates.Clear();
        _borrowed.Clear();
        _held.ForEach(held => held.Dispose());
        _held.Clear();
        (_global, _begun) = (null, false);
    }
}

/// <summary>Backends by the names that options give them.</summary>
internal static class Backends
{
    public static IComputeBackend? Create(string? name)
    {
#if GPU
        return name is null or "simd" ? null : Gpu.ComputeBackends.Create(name, new Gpu.GpuOptions { Fallback = name == "auto" });
#else
        return name switch
        {
            null or "simd" or "auto" => null,
            "reference" => ReferenceBackend.Instance,
            _ => throw new InvalidOptionsException([$"The backend '{name}' is unknown to this build; auto, simd, reference are known."]),
        };
#endif
    }
}
