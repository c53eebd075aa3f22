using System.Collections.Concurrent;
using System.Diagnostics;
using FedICU.TorchSharp;
using TorchSharp;
using static TorchSharp.torch;

namespace FedICU.Experiments;

/// <summary>What all methods of a scenario and a seed have in common, worked out once: where they start, and where that takes clients whose training no method changes.</summary>
internal sealed class FirstRound : IDisposable
{
    public ConcurrentDictionary<int, Adapter> Trained { get; } = [];

    /// <summary>What is measured before the first round.</summary>
    public double[]? Bits { get; set; }

    public void Dispose()
    {
        foreach (Adapter adapter in Trained.Values)
            adapter.Dispose();
    }
}

/// <summary>One method on one scenario with one seed, round after round, with a checkpoint after each.</summary>
internal sealed class Run(Method method, Scenario scenario, int seed, Corpus corpus, Transformer model, ExperimentOptions options, FirstRound first, ResultFile results, string folder) : IDisposable
{
    private const string GlobalFile = "global.safetensors";

    private readonly IReadOnlyList<ExperimentClient> _clients = scenario.Make(corpus, options.Steps, seed);
    private readonly string _checkpoints = Path.Combine(folder, "checkpoints", options.Name, $"{corpus.Source}-{scenario.Name}-{method.Name}-{seed}");
    // of a federation and the centre one, of clients that stay alone one each
    private readonly List<Adapter> _adapters = [];
    private readonly Dictionary<int, MemorySink> _momenta = [];
    private long _sent, _whole;

    /// <summary>Runs what of the rounds is not in the results yet.</summary>
    /// <param name="tick">Called after each round.</param>
    /// <param name="cancellationToken">Ends it between two steps; what was measured stays.</param>
    public void Execute(Action tick, CancellationToken cancellationToken)
    {
        int done = Resume();
        if (done < 0)
            Report(0, 1, 0, null);
        tick();
        for (int round = 1; round <= options.Rounds; round++)
        {
            if (round > done && method.Kind != MethodKind.Base)
            {
                (double step, double milliseconds, RoundReport? report) = method.Kind == MethodKind.Federated ? Federate(round, cancellationToken) : Alone(round, cancellationToken);
                Save(round);
                Report(round, step, milliseconds, report);
            }

            tick();
        }

        if (Directory.Exists(_checkpoints))
            Directory.Delete(_checkpoints, recursive: true);
    }

    public void Dispose()
    {
        _adapters.ForEach(adapter => adapter.Dispose());
        foreach (MemorySink momentum in _momenta.Values)
            momentum.Dispose();
    }

    private (double, double, RoundReport?) Alone(int round, CancellationToken cancellationToken)
    {
        if (method.Kind == MethodKind.Central)
        {
            Replace(0, Train(_adapters[0], Pooled(), Chosen(round).Sum(k => _clients[k].Steps), RandomOf(round, -1), cancellationToken));
            return (1, 0, null);
        }

        ForEach(Chosen(round), k => Replace(k, TrainClient(k, _adapters[k], round, cancellationToken)), cancellationToken);
        return (1, 0, null);
    }

    private (double, double, RoundReport?) Federate(int round, CancellationToken cancellationToken)
    {
        Adapter received = _adapters[0];
        int[] chosen = Chosen(round);
        var trained = new Adapter[_clients.Count];
        ForEach(chosen, k => trained[k] = TrainClient(k, received, round, cancellationToken), cancellationToken);
        using var global = new StateDictModel(received.Factors);
        StateDictModel[] locals = [.. chosen.Select(k => new StateDictModel(trained[k].Factors))];
        var uploads = new List<MemorySink>();
        var aggregation = new AggregationRound(global.Model, new RoundOptions { Round = round, Statistics = true });
        foreach ((int i, int k) in chosen.Index())
        {
            TensorSource upload = locals[i].Model;
            _whole += upload.Tensors.Sum(tensor => tensor.ByteLength);
            if (method.Mask is { } mask)
            {
                uploads.Add(Masked(k, round, global.Model, locals[i].Model, mask));
                upload = uploads[^1].Model;
            }

            _sent += upload.Tensors.Sum(tensor => tensor.ByteLength);
            aggregation.Add(ClientUpdate.FromTensors(_clients[k].Id, upload, examples: _clients[k].Examples));
        }

        var time = Stopwatch.StartNew();
        var sink = new StateDictSink(received.Factors);
        RoundReport report = Aggregator(chosen, trained).AggregateAsync(aggregation, sink, cancellationToken).GetAwaiter().GetResult().Report;
        double milliseconds = time.Elapsed.TotalMilliseconds;
        using var made = new Adapter(sink.StateDict);
        using Adapter target = method.Product == ProductRule.None ? made.Clone() : Products(received, chosen, trained);
        double step = Server.Step(method, received, target, report);
        Adapter next = Server.Move(received, target, step);
        Array.ForEach(locals, local => local.Dispose());
        uploads.ForEach(upload => upload.Dispose());
        foreach (int k in chosen)
            trained[k].Dispose();
        Replace(0, next);
        return (step, milliseconds, report);
    }

    /// <summary>The clients that train in a round, the same for every method.</summary>
    private int[] Chosen(int round)
    {
        int[] clients = [.. Enumerable.Range(0, _clients.Count)];
        RandomOf(round, -2).Shuffle(clients);
        return [.. clients.Take((int)Math.Ceiling(scenario.Participation * _clients.Count)).Order()];
    }

    private MemorySink Masked(int k, int round, TensorSource received, TensorSource trained, Dictionary<string, string> settings)
    {
        FedIcuClientOptions mask = FedIcuClientOptions.FromSettings(settings) with { Round = round };
        bool remembers = mask.Momentum == Compute.MomentumRule.Ema;
        MemorySink? momentum = remembers ? new MemorySink() : null;
        var update = new MemorySink();
        new FedIcuClient(mask).CreateUpdate(received, trained, update, remembers ? _momenta.GetValueOrDefault(k)?.Model : null, momentum);
        if (momentum is not null)
        {
            _momenta.GetValueOrDefault(k)?.Dispose();
            _momenta[k] = momentum;
        }

        return update;
    }

    private IAggregator Aggregator(int[] chosen, Adapter[] trained)
    {
        if (!method.Validated)
            return AggregatorCatalog.Create(method.Strategy, method.Settings).Aggregator;
        var scores = new double[_clients.Count];
        ForEach(chosen, k => scores[k] = -Training.BitsPerByte(model, trained[k], corpus.Validation, corpus.Encoding), CancellationToken.None);
        FedIcuOptions split = ((FedIcuAggregator)AggregatorCatalog.Create(method.Strategy, method.Settings).Aggregator).Options;
        return new FedIcuAggregator(split with { Scores = (client, _) => scores[_clients.Index().First(pair => pair.Item.Id == client).Index] });
    }

    private Adapter Products(Adapter received, int[] chosen, Adapter[] trained)
    {
        double total = chosen.Sum(k => _clients[k].Examples);
        return Server.OfProducts(method.Product, received, [.. chosen.Select(k => (trained[k], _clients[k].Examples / total))]);
    }

    private Adapter TrainClient(int k, Adapter from, int round, CancellationToken cancellationToken)
    {
        return round == 1 && method.Mu == 0 ? first.Trained.GetOrAdd(k, _ => Train()).Clone() : Train();

        Adapter Train() => this.Train(from, _clients[k], _clients[k].Steps, RandomOf(round, k), cancellationToken);
    }

    private Adapter Train(Adapter from, ExperimentClient client, int steps, Random random, CancellationToken cancellationToken)
    {
        using Adapter trainable = from.Trainable();
        Training.Run(model, trainable, client.Texts, client.Mixture, steps, options, random, method.Mu, cancellationToken);
        return trainable.Clone();
    }

    /// <summary>All clients' texts as one client's.</summary>
    private ExperimentClient Pooled()
    {
        (int[] Text, double Share)[] texts = [.. _clients.SelectMany(client => client.Texts.Zip(client.Mixture, (text, share) => (text, share * client.Steps))).Where(pair => pair.Item2 > 0)];
        double total = texts.Sum(text => text.Share);
        return new ExperimentClient("centre", [.. texts.Select(text => text.Text)], [.. texts.Select(text => text.Share / total)], 1, 0);
    }

    private void Report(int round, double step, double milliseconds, RoundReport? report)
    {
        double[] means = round == 0 ? first.Bits ??= Measure() : Measure();
        IEnumerable<TensorClientReport> parts = report?.Tensors.SelectMany(tensor => tensor.Clients) ?? [];
        results.Add(new RoundResult
        {
            Options = options.Name,
            Corpus = corpus.Source,
            Scenario = scenario.Name,
            Method = method.Name,
            Seed = seed,
            Round = round,
            Domains = means[..^1],
            General = means[^1],
            Sent = _sent,
            Whole = _whole,
            Cosine = parts.Select(part => part.Cosine ?? 0).DefaultIfEmpty().Average(),
            UpdateNorm = parts.Select(part => part.UpdateNorm ?? 0).DefaultIfEmpty().Average(),
            CrossTerm = report?.LoraPairs.Select(pair => pair.CrossTerm).DefaultIfEmpty().Average() ?? 0,
            Step = step,
            AggregationMilliseconds = milliseconds,
        });
    }

    /// <summary>Bits per byte of each domain's test text and of the general one.</summary>
    private double[] Measure()
    {
        var tests = new List<(int Adapter, int Domain)>();
        for (int domain = 0; domain <= corpus.Names.Count; domain++)
            tests.AddRange(Holders(domain).Select(adapter => (adapter, domain)));
        double[] bits = new double[tests.Count];
        ForEach(Enumerable.Range(0, tests.Count), i => bits[i] = Training.BitsPerByte(
            model, _adapters[tests[i].Adapter], tests[i].Domain == corpus.Names.Count ? corpus.GeneralTest : corpus.Test[tests[i].Domain], corpus.Encoding), CancellationToken.None);
        return [.. Enumerable.Range(0, corpus.Names.Count + 1).Select(domain => tests.Index().Where(test => test.Item.Domain == domain).Average(test => bits[test.Index]))];
    }

    /// <summary>The adapters that serve a domain: the shared one, or those of the clients that hold most of it; the general text all.</summary>
    private IEnumerable<int> Holders(int domain)
    {
        if (method.Kind != MethodKind.Local)
            return [0];
        if (domain == corpus.Names.Count)
            return Enumerable.Range(0, _clients.Count);
        double most = _clients.Max(client => client.Mixture[domain]);
        return Enumerable.Range(0, _clients.Count).Where(k => _clients[k].Mixture[domain] >= most);
    }

    private int Resume()
    {
        // the same for every method
        using Adapter start = Adapter.Random(new Random(seed));
        for (int i = 0; i < (method.Kind == MethodKind.Local ? _clients.Count : 1); i++)
            _adapters.Add(start.Clone());
        List<RoundResult> rows = results.Of(options.Name, corpus.Source, scenario.Name, method.Name, seed);
        if (rows.Count == 0)
            return -1;
        RoundResult last = rows[^1];
        if (last.Round >= options.Rounds || method.Kind == MethodKind.Base)
            return int.MaxValue;
        string state = Path.Combine(_checkpoints, $"{last.Round}");
        if (last.Round == 0)
            return 0;
        if (!Directory.Exists(state))
        {
            results.Remove(rows);
            return -1;
        }

        (_sent, _whole) = (last.Sent, last.Whole);
        for (int i = 0; i < _adapters.Count; i++)
            Replace(i, Load(Path.Combine(state, $"{i}-{GlobalFile}")));
        for (int k = 0; k < _clients.Count; k++)
        {
            string path = Path.Combine(state, $"momentum-{k}.safetensors");
            if (!File.Exists(path))
                continue;
            using TensorSource source = TensorSource.Open(path);
            source.SaveTo(_momenta[k] = new MemorySink());
        }

        return last.Round;
    }

    private void Save(int round)
    {
        string state = Path.Combine(_checkpoints, $"{round}"), unfinished = state + ".tmp";
        if (Directory.Exists(unfinished))
            Directory.Delete(unfinished, recursive: true);
        Directory.CreateDirectory(unfinished);
        foreach ((int i, Adapter adapter) in _adapters.Index())
        {
            using var held = new StateDictModel(adapter.Factors);
            held.Model.SaveTo(TensorSink.ToFile(Path.Combine(unfinished, $"{i}-{GlobalFile}")));
        }

        foreach ((int k, MemorySink momentum) in _momenta)
            momentum.Model.SaveTo(TensorSink.ToFile(Path.Combine(unfinished, $"momentum-{k}.safetensors")));
        if (Directory.Exists(state))
            Directory.Delete(state, recursive: true);
        Directory.Move(unfinished, state);
        string before = Path.Combine(_checkpoints, $"{round - 2}");
        if (Directory.Exists(before))
            Directory.Delete(before, recursive: true);
    }

    private static Adapter Load(string path)
    {
        using TensorSource source = TensorSource.Open(path);
        return new Adapter(source.Tensors.ToDictionary(info => info.Name, info =>
        {
            Tensor factor = empty(info.Shape.Dimensions, float32);
            source.Read(info, 0, factor.bytes);
            return factor;
        }));
    }

    private void Replace(int index, Adapter next)
    {
        _adapters[index].Dispose();
        _adapters[index] = next;
    }

    /// <summary>Each client has its own numbers in each round, the same for every method.</summary>
    private Random RandomOf(int round, int client) => new(unchecked(seed * 1_000_003 + round * 1009 + client));

    private static void ForEach(IEnumerable<int> items, Action<int> body, CancellationToken cancellationToken) =>
        Parallel.ForEach(items, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken }, body);
}
