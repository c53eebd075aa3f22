using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using System.Text;
using FedICU.TorchSharp;

namespace FedICU.Experiments;

/// <summary>Runs one method on one scenario with one seed, and saves a checkpoint after each round.</summary>
internal sealed partial class Run(
    RunKey key, Method method, Scenario scenario, Corpus corpus, Transformer model, ExperimentOptions options, FirstRound first,
    ResultFile results, string folder, CancellationToken cancellationToken) : IDisposable
{
    // numbers of RandomOf that are no clients
    private const int CentralTraining = -1;
    private const int ClientSelection = -2;
    private const int StartingAdapter = -3;
    private const int ServerTraining = -4;
    private const int FirstRandomMask = 1000;

    private readonly IReadOnlyList<ExperimentClient> _clients = scenario.CreateClients(corpus, options.Steps, key.Seed);
    private readonly Checkpoints _checkpoints = new(Path.Combine(folder, "checkpoints", FolderOf(key)));
    private readonly List<RoundResult> _measured = [.. results.Rows.Where(row => row.Run == key)];
    // one adapter for a federation and for central training, one for each client for local training
    private List<Adapter> _adapters = [];
    private Dictionary<int, MemorySink> _momenta = [];
    // the sums of the clients' updates for FedDyn, their control variates for Scaffold
    private readonly Dictionary<int, Adapter> _memories = [];
    // the state of the server's rule, and FLTrust's root
    private readonly DirectoryInfo _scratch = Directory.CreateTempSubdirectory("fedicu-");
    private readonly Dictionary<(int Client, string Mask), byte[]> _masks = [];
    // the base of a method that changes it, after its first round
    private Transformer? _ownBase;
    private long _sent, _whole;
    // the entries that masks chose in the round, and those that the same client's previous mask also chose
    private long _chosen, _again;

    private Transformer Model => _ownBase ?? model;

    private string StateFile => Path.Combine(_scratch.FullName, "state.safetensors");

    /// <summary>Runs the rounds that have no results yet. If the method diverges, its last line has NaN.</summary>
    /// <param name="tick">Called after each round.</param>
    /// <returns>Why the method ended before the last round; null if it did not.</returns>
    public RunFailure? Execute(Action tick)
    {
        if (_measured.Find(row => row.IsDiverged) is { } diverged)
            return new RunFailure(scenario, method, key.Seed, diverged.Round, "the saved results say so.", Diverged: true);
        int round = 0;
        try
        {
            int done = Resume();
            if (_measured.Count == 0)
                Add(0, first.Bits ??= Measure(), 0, null);
            tick();
            for (round = 1; round <= options.Rounds; round++, tick())
            {
                if (round > done && method.Kind != MethodKind.Base)
                    ExecuteRound(round);
            }

            return null;
        }
        catch (DivergedException e)
        {
            Add(round, [.. Enumerable.Repeat(double.NaN, corpus.Names.Count + 1)], 0, null);
            return new RunFailure(scenario, method, key.Seed, round, e.Message, Diverged: true);
        }
        catch (Exception e) when (e is not (OperationCanceledException or IOException))
        {
            // the first line, as libtorch's messages contain a stack trace
            return new RunFailure(scenario, method, key.Seed, round, e.Message.Split('\n')[0], Diverged: false);
        }
    }

    public void Dispose()
    {
        _scratch.Delete(recursive: true);
        foreach (Adapter memory in _memories.Values)
            memory.Dispose();
        SetBase(null);
        _adapters.ForEach(adapter => adapter.Dispose());
        foreach (MemorySink momentum in _momenta.Values)
            momentum.Dispose();
    }

    private static string FolderOf(RunKey key) =>
        $"{key.Scenario}-{key.Method}-{key.Seed}-{Corpus.Short(SHA256.HashData(Encoding.UTF8.GetBytes($"{key}")))}";

    private void ExecuteRound(int round)
    {
        (double milliseconds, RoundReport? report) = (0, null);
        if (method.Kind == MethodKind.Federated)
            (milliseconds, report) = Federate(round);
        else
            TrainWithoutFederation(round);
        // checkpoints hold no state of a rule and no base: a stopped run of a rule that has one begins again
        if (_memories.Count == 0 && !File.Exists(StateFile) && _ownBase is null)
            _checkpoints.Save(round, _adapters, _momenta);
        if (!_measured.Exists(row => row.Round == round))
            Add(round, Measure(), milliseconds, report);
    }

    private void TrainWithoutFederation(int round)
    {
        int[] chosen = ChooseClients(round);
        if (method.Kind == MethodKind.Central)
        {
            int steps = chosen.Sum(k => _clients[k].Steps);
            Replace(0, Train(_adapters[0], PoolClients(), steps, RandomOf(round, CentralTraining), Environment.ProcessorCount, null));
        }
        else
        {
            ForEach(chosen, k => Replace(k, TrainClient(k, _adapters[k], round)));
        }

        for (int i = 0; method.Balanced && i < _adapters.Count; i++)
            Replace(i, Server.Balance(_adapters[i]));
    }

    private (double Milliseconds, RoundReport Report) Federate(int round)
    {
        using var global = new StateDictModel(_adapters[0].Factors);
        int[] chosen = ChooseClients(round);
        var trained = new Adapter[_clients.Count];
        var statements = new ClientStatements[_clients.Count];
        var held = new ConcurrentBag<IDisposable>();
        ForEach(chosen, k =>
        {
            Adapter received = Receive(k, global.Model, held);
            trained[k] = TrainClient(k, received, round);
            statements[k] = CreateStatements(k, received, round, held);
            if (k < scenario.Attackers)
                Attack(received, trained[k]);
        });
        var updates = new List<ClientUpdate>();
        _chosen = _again = 0;
        foreach (int k in chosen)
        {
            var local = new StateDictModel(trained[k].Factors);
            held.Add(local);
            TensorSource upload = local.Model;
            if (method.Mask is not null)
            {
                MemorySink masked = Mask(k, round, global.Model, upload);
                held.Add(masked);
                upload = masked.Model;
            }

            _whole += Bytes(local.Model);
            _sent += Bytes(upload);
            double weight = method.Uniform ? 1 : _clients[k].Examples;
            updates.Add(ClientUpdate.FromTensors(_clients[k].Id, upload, weight, statements: statements[k]));
        }

        StageAggregator aggregator = CreateAggregator(chosen, trained, round);
        using RoundState? state = aggregator.KeepsState ? RoundState.InFile(StateFile) : null;
        var roundOptions = new RoundOptions { Round = round, Statistics = true };
        var time = Stopwatch.StartNew();
        Adapter next = MoveToBase(
            Server.RunRound(aggregator, global.Model, updates, roundOptions, state, out RoundReport report, cancellationToken), round);
        double milliseconds = time.Elapsed.TotalMilliseconds;
        foreach (IDisposable model in held)
            model.Dispose();
        foreach (int k in chosen)
            trained[k].Dispose();
        Replace(0, next);
        return next.IsFinite ? (milliseconds, report) : throw new DivergedException("The server's factors are not finite.");

        static long Bytes(TensorSource model) => model.Tensors.Sum(tensor => tensor.ByteLength);
    }

    /// <summary>Chooses the clients that train in a round. They are the same for every method.</summary>
    private int[] ChooseClients(int round)
    {
        int[] clients = [.. Enumerable.Range(0, _clients.Count)];
        RandomOf(round, ClientSelection).Shuffle(clients);
        return [.. clients.Take((int)Math.Ceiling(scenario.Participation * _clients.Count)).Order()];
    }

    private StageAggregator CreateAggregator(int[] chosen, Adapter[] trained, int round)
    {
        Dictionary<string, string> settings = method.Settings;
        bool hasRoot = method.Strategy == "fltrust";
        if (hasRoot)
            settings = new(settings) { ["root"] = TrainRoot(_adapters[0], round) };
        if (method.Strategy == "fedex-lora")
            settings = new(settings) { ["base"] = SaveBase(), ["base-output"] = NextBaseFile };
        IReadOnlyList<Stage> stages = StrategyRegistry.Default.Create(method.Strategy, settings).Aggregator.Stages;
        if (!method.Validated || hasRoot)
            return Server.Compose(method, stages);
        var scores = new ConcurrentDictionary<string, double>();
        ForEach(chosen, k => scores[_clients[k].Id] = -corpus.Validation.Average(text => Bits(trained[k], text)));
        FedIcuOptions options = stages.OfType<FedIcu>().Single().Options with { Scores = (client, _) => scores[client] };
        return Server.Compose(method, [new FedIcu(options)]);
    }

    private Adapter Train(Adapter from, ExperimentClient client, int steps, Random random, int threads, GradientTerm? term)
    {
        using Adapter trainable = from.Trainable(FreezesA);
        Training.Run(Model, trainable, client.Texts, client.Mixture, steps, options, random, threads, term, cancellationToken);
        return trainable.IsFinite ? trainable.Clone() : throw new DivergedException($"The factors of {client.Id} are not finite.");
    }

    /// <summary>Combines all clients' texts into one client, by the clients' weights.</summary>
    private ExperimentClient PoolClients()
    {
        (int[] Text, double Share)[] texts = [.. _clients
            .SelectMany(client => client.Texts.Zip(client.Mixture, (text, share) => (text, share * client.Examples)))
            .Where(pair => pair.Item2 > 0)];
        double total = texts.Sum(text => text.Share);
        return new ExperimentClient("centre", [.. texts.Select(text => text.Text)], [.. texts.Select(text => text.Share / total)], 1, 0);
    }

    /// <summary>
    /// Loads the last checkpoint and returns its round. Without a checkpoint, rounds that have results run again but
    /// are not measured.
    /// </summary>
    private int Resume()
    {
        RoundResult? last = _measured.MaxBy(row => row.Round);
        if (last is { Round: > 0 } && _checkpoints.Has(last.Round))
        {
            (_adapters, _momenta) = _checkpoints.Load(last.Round);
            (_sent, _whole) = (last.Sent, last.Whole);
            return last.Round;
        }

        if (last is not null && last.Round >= options.Rounds)
            return last.Round;
        _adapters = method.Kind == MethodKind.Local
            ? [.. _clients.Select(client => CreateStart(0, method.Rank ?? client.Rank))]
            : [CreateStart(0, GlobalRank)];
        return 0;
    }

    /// <summary>Creates the adapter of a start in a round. Its rows are the same for every method.</summary>
    private Adapter CreateStart(int round, int rank) =>
        Adapter.Random(RandomOf(round, StartingAdapter), Math.Max(rank, _clients.Max(client => client.Rank)), rank);

    private void Replace(int index, Adapter next)
    {
        _adapters[index].Dispose();
        _adapters[index] = next;
    }

    /// <summary>Creates the random numbers of a client in a round. They are the same for every method.</summary>
    private Random RandomOf(int round, int client) => new(unchecked(key.Seed * 1_000_003 + round * 1009 + client));

    private void ForEach(IEnumerable<int> items, Action<int> body)
    {
        var parallel = new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount, CancellationToken = cancellationToken };
        try
        {
            Parallel.ForEach(items, parallel, body);
        }
        catch (AggregateException e)
        {
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
    }
}
