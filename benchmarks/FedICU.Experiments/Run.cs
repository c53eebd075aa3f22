using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
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

/// <summary>A client's factors are no longer finite.</summary>
internal sealed class DivergedException : Exception;

/// <summary>One method on one scenario with one seed, round after round, with a checkpoint after each.</summary>
internal sealed class Run(
    Method method, Scenario scenario, int seed, Corpus corpus, Transformer model, string weights, ExperimentOptions options, FirstRound first, ResultFile results, string folder, CancellationToken cancellationToken) : IDisposable
{
    private readonly IReadOnlyList<ExperimentClient> _clients = scenario.Make(corpus, options.Steps, seed);
    private readonly string _checkpoints = Path.Combine(folder, "checkpoints", options.Name, $"{corpus.Source}-{corpus.Texts}-{weights}-{scenario.Name}-{method.Name}-{seed}");
    private readonly List<RoundResult> _measured = [.. results.Of(options.Name, corpus.Source, corpus.Texts, weights, scenario.Name, method.Name, seed)];
    // of a federation and the centre one, of clients that stay alone one each
    private readonly List<Adapter> _adapters = [];
    private readonly Dictionary<int, MemorySink> _momenta = [];
    private long _sent, _whole;

    /// <summary>Runs what of the rounds is not in the results yet. A method whose numbers leave what is finite has NaN in its last line.</summary>
    /// <param name="tick">Called after each round.</param>
    public void Execute(Action tick)
    {
        int done = Resume();
        Report(0, 0, null);
        tick();
        for (int round = 1; round <= options.Rounds; round++)
        {
            if (round > done && method.Kind != MethodKind.Base && !_measured.Exists(row => double.IsNaN(row.General)))
            {
                (double milliseconds, RoundReport? report) = (0, null);
                try
                {
                    if (method.Kind == MethodKind.Federated)
                        (milliseconds, report) = Federate(round);
                    else
                        Alone(round);
                    Save(round);
                }
                catch (DivergedException)
                {
                    _adapters.ForEach(adapter => adapter.Factors.Values.First().fill_(float.NaN));
                }

                Report(round, milliseconds, report);
            }

            tick();
        }
    }

    public void Dispose()
    {
        _adapters.ForEach(adapter => adapter.Dispose());
        foreach (MemorySink momentum in _momenta.Values)
            momentum.Dispose();
    }

    private void Alone(int round)
    {
        if (method.Kind == MethodKind.Central)
            Replace(0, Train(_adapters[0], Pooled(), Chosen(round).Sum(k => _clients[k].Steps), RandomOf(round, -1), Environment.ProcessorCount));
        else
            ForEach(Chosen(round), k => Replace(k, TrainClient(k, _adapters[k], round)));
    }

    private (double Milliseconds, RoundReport Report) Federate(int round)
    {
        Adapter received = _adapters[0];
        int[] chosen = Chosen(round);
        var trained = new Adapter[_clients.Count];
        ForEach(chosen, k => trained[k] = TrainClient(k, received, round));
        using var global = new StateDictModel(received.Factors);
        var held = new List<IDisposable>();
        var updates = new List<ClientUpdate>();
        foreach (int k in chosen)
        {
            var local = new StateDictModel(trained[k].Factors);
            held.Add(local);
            TensorSource upload = local.Model;
            if (method.Mask is not null)
            {
                MemorySink masked = Masked(k, round, global.Model, upload);
                held.Add(masked);
                upload = masked.Model;
            }

            _whole += Bytes(local.Model);
            _sent += Bytes(upload);
            updates.Add(ClientUpdate.FromTensors(_clients[k].Id, upload, method.Uniform ? 1 : _clients[k].Examples));
        }

        IAggregator aggregator = Aggregator(chosen, trained);
        var roundOptions = new RoundOptions { Round = round, Statistics = true };
        var time = Stopwatch.StartNew();
        RoundReport report;
        Adapter next;
        // what the updates stand for, where the server works on that itself
        (ClientUpdate Update, Adapter Adapter)[] whole = !method.Product && method.MeanOver == MeanOver.All ? []
            : [.. updates.Select(update => (update, Server.MeanOfOne(update, received, global.Model, balance: false)))];
        if (method.Product)
        {
            report = Server.OfProducts(aggregator, received, whole, roundOptions, method.Step, out next);
        }
        else
        {
            var aggregation = new AggregationRound(global.Model, roundOptions);
            updates.ForEach(aggregation.Add);
            var sink = new StateDictSink(received.Factors);
            report = aggregator.AggregateAsync(aggregation, sink, cancellationToken).GetAwaiter().GetResult().Report;
            using var mean = new Adapter(sink.StateDict);
            using Adapter? ofSome = method.MeanOver == MeanOver.All ? null : Server.MeanOfSome(method.MeanOver, received, whole);
            next = Server.Move(received, ofSome ?? mean, method.Step);
            if (method.Balanced)
            {
                using Adapter moved = next;
                using var ofServer = new StateDictModel(moved.Factors);
                next = Server.MeanOfOne(ClientUpdate.FromTensors("server", ofServer.Model), moved, ofServer.Model, balance: true);
            }
        }

        double milliseconds = time.Elapsed.TotalMilliseconds;
        held.ForEach(model => model.Dispose());
        foreach ((_, Adapter adapter) in whole)
            adapter.Dispose();
        foreach (int k in chosen)
            trained[k].Dispose();
        Replace(0, next);
        return (milliseconds, report);

        static long Bytes(TensorSource model) => model.Tensors.Sum(tensor => tensor.ByteLength);
    }

    /// <summary>The clients that train in a round, the same for every method.</summary>
    private int[] Chosen(int round)
    {
        int[] clients = [.. Enumerable.Range(0, _clients.Count)];
        RandomOf(round, -2).Shuffle(clients);
        return [.. clients.Take((int)Math.Ceiling(scenario.Participation * _clients.Count)).Order()];
    }

    private MemorySink Masked(int k, int round, TensorSource received, TensorSource trained)
    {
        FedIcuClientOptions mask = FedIcuClientOptions.FromSettings(method.Mask!) with { Round = round };
        if (method.RandomMask)
        {
            Random random = RandomOf(round, k + 1000);
            mask = mask with
            {
                ImportanceFunction = (_, _, importances) =>
                {
                    foreach (ref double importance in importances)
                        importance = random.NextDouble();
                },
            };
        }

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
        IAggregator aggregator = AggregatorCatalog.Create(method.Strategy, method.Settings).Aggregator;
        if (!method.Validated)
            return aggregator;
        var scores = new ConcurrentDictionary<string, double>();
        ForEach(chosen, k => scores[_clients[k].Id] = -corpus.Validation.Average(text => Bits(trained[k], text)));
        return new FedIcuAggregator(((FedIcuAggregator)aggregator).Options with { Scores = (client, _) => scores[client] });
    }

    private Adapter TrainClient(int k, Adapter from, int round)
    {
        return round == 1 && method.Mu == 0 ? first.Trained.GetOrAdd(k, _ => Train()).Clone() : Train();

        Adapter Train() => this.Train(from, _clients[k], _clients[k].Steps, RandomOf(round, k), threads: 1);
    }

    private Adapter Train(Adapter from, ExperimentClient client, int steps, Random random, int threads)
    {
        using Adapter trainable = from.Trainable();
        Training.Run(model, trainable, client.Texts, client.Mixture, steps, options, random, threads, method.Mu, cancellationToken);
        return trainable.IsFinite ? trainable.Clone() : throw new DivergedException();
    }

    /// <summary>All clients' texts as one client's.</summary>
    private ExperimentClient Pooled()
    {
        (int[] Text, double Share)[] texts = [.. _clients.SelectMany(client => client.Texts.Zip(client.Mixture, (text, share) => (text, share * client.Steps))).Where(pair => pair.Item2 > 0)];
        double total = texts.Sum(text => text.Share);
        return new ExperimentClient("centre", [.. texts.Select(text => text.Text)], [.. texts.Select(text => text.Share / total)], 1, 0);
    }

    private void Report(int round, double milliseconds, RoundReport? report)
    {
        if (_measured.Exists(row => row.Round == round))
            return;
        double[] means = round == 0 ? first.Bits ??= Measure() : Measure();
        IEnumerable<TensorClientReport> parts = report?.Tensors.SelectMany(tensor => tensor.Clients) ?? [];
        var row = new RoundResult
        {
            Options = options.Name,
            Corpus = corpus.Source,
            Texts = corpus.Texts,
            Base = weights,
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
            AggregationMilliseconds = milliseconds,
        };
        results.Add(row);
        _measured.Add(row);
    }

    /// <summary>Bits per byte of each domain's test text and of the general one.</summary>
    private double[] Measure()
    {
        var tests = new List<(int Adapter, int Domain)>();
        for (int domain = 0; domain <= corpus.Names.Count; domain++)
            tests.AddRange(Holders(domain).Select(adapter => (adapter, domain)));
        double[] bits = new double[tests.Count];
        ForEach(Enumerable.Range(0, tests.Count), i => bits[i] = Bits(_adapters[tests[i].Adapter], tests[i].Domain == corpus.Names.Count ? corpus.GeneralTest : corpus.Test[tests[i].Domain]));
        return [.. Enumerable.Range(0, corpus.Names.Count + 1).Select(domain => tests.Index().Where(test => test.Item.Domain == domain).Average(test => bits[test.Index]))];
    }

    private double Bits(Adapter adapter, int[] text) => Training.BitsPerByte(model, adapter, text, corpus.Encoding, options.TestWindows, cancellationToken);

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

    /// <summary>The last round that a checkpoint holds; where there is none, rounds whose figures are known are run once more and not measured.</summary>
    private int Resume()
    {
        int last = _measured.Count == 0 ? 0 : _measured.Max(row => row.Round);
        string state = Path.Combine(_checkpoints, $"{last}");
        int adapters = method.Kind == MethodKind.Local ? _clients.Count : 1;
        if (last >= options.Rounds && !Directory.Exists(state))
            return last;
        if (last == 0 || !Directory.Exists(state))
        {
            // the same for every method
            using Adapter start = Adapter.Random(RandomOf(0, -3));
            for (int i = 0; i < adapters; i++)
                _adapters.Add(start.Clone());
            return 0;
        }

        RoundResult row = _measured.Single(row => row.Round == last);
        (_sent, _whole) = (row.Sent, row.Whole);
        for (int i = 0; i < adapters; i++)
            _adapters.Add(Adapter.Load(AdapterFile(state, i)));
        for (int k = 0; k < _clients.Count; k++)
        {
            if (!File.Exists(MomentumFile(state, k)))
                continue;
            using TensorSource source = TensorSource.Open(MomentumFile(state, k));
            source.SaveTo(_momenta[k] = new MemorySink());
        }

        return last;
    }

    /// <summary>The state of the round before stays until this one's figures are written too.</summary>
    private void Save(int round)
    {
        string state = Path.Combine(_checkpoints, $"{round}"), unfinished = state + ".tmp";
        Remove(unfinished);
        Directory.CreateDirectory(unfinished);
        foreach ((int i, Adapter adapter) in _adapters.Index())
            adapter.Save(AdapterFile(unfinished, i));
        foreach ((int k, MemorySink momentum) in _momenta)
            momentum.Model.SaveTo(TensorSink.ToFile(MomentumFile(unfinished, k)));
        Remove(state);
        Directory.Move(unfinished, state);
        Remove(Path.Combine(_checkpoints, $"{round - 2}"));

        static void Remove(string path)
        {
            if (Directory.Exists(path))
                Directory.Delete(path, recursive: true);
        }
    }

    private static string AdapterFile(string state, int index) => Path.Combine(state, $"{index}.safetensors");

    private static string MomentumFile(string state, int client) => Path.Combine(state, $"momentum-{client}.safetensors");

    private void Replace(int index, Adapter next)
    {
        _adapters[index].Dispose();
        _adapters[index] = next;
    }

    /// <summary>Each client has its own numbers in each round, the same for every method.</summary>
    private Random RandomOf(int round, int client) => new(unchecked(seed * 1_000_003 + round * 1009 + client));

    private void ForEach(IEnumerable<int> items, Action<int> body)
    {
        try
        {
            Parallel.ForEach(items, new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken }, body);
        }
        catch (AggregateException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }
}
