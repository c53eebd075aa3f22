using System.Globalization;
using System.Runtime.InteropServices;
using FedICU;

namespace FederatedLanguages;

/// <summary>
/// Runs the rounds of a federation. The server saves the global adapter. Each client trains a copy of it on its own
/// text and uploads the result. The server aggregates the uploads. Server and clients exchange files. All uses of
/// FedICU.Core in this sample are here.
/// </summary>
internal sealed class Federation
{
    private static readonly PeftAdapterConfig Config = PeftAdapterConfig.Parse(
        """
        {
          "peft_type": "LORA",
          "base_model_name_or_path": "base.safetensors",
          "r": 8,
          "lora_alpha": 16,
          "lora_dropout": 0.0,
          "bias": "none",
          "target_modules": ["hidden1", "hidden2", "output"],
          "inference_mode": true,
          "task_type": null
        }
        """u8, "the sample's adapter_config.json");

    private const string StateFolder = "state";

    private const string UpdateFile = "update.safetensors";

    // the number that stands for the server where random numbers depend on the client; no client has it
    private const int Server = -1;

    private readonly StrategyChoice _strategy;
    private readonly StageAggregator _aggregator;
    private readonly string _folder;
    private readonly LanguageModel _model;
    private readonly IReadOnlyList<ClientText> _clients;
    private readonly byte[] _serverText;
    private readonly Options _options;
    private readonly Attack? _attack;
    private readonly FedIcuClient _masking = new();
    private readonly long[] _sent, _dense;

    /// <param name="strategy">The strategy of the server.</param>
    /// <param name="folder">
    /// The folder that gets a subfolder for each round. Subfolders of an earlier run are deleted.
    /// </param>
    /// <param name="model">The base model, which the server and all clients have.</param>
    /// <param name="clients">The clients' private texts.</param>
    /// <param name="serverText">The server's own text, for strategies that need one.</param>
    /// <param name="options">Rounds, steps and seed.</param>
    /// <param name="attack">What the first clients do to the federation; null: nothing.</param>
    public Federation(
        StrategyChoice strategy, string folder, LanguageModel model, IReadOnlyList<ClientText> clients, byte[] serverText,
        Options options, Attack? attack)
    {
        (_strategy, _folder, _model, _clients, _serverText) = (strategy, folder, model, clients, serverText);
        (_options, _attack) = (options, attack);
        _aggregator = strategy.Create(RootFolder(1)).Aggregator;
        (_sent, _dense) = (new long[clients.Count], new long[clients.Count]);
        Directory.CreateDirectory(folder);
        foreach (string old in (string[])[.. Directory.GetDirectories(folder, "round-*"), .. Directory.GetDirectories(folder, StateFolder)])
            Directory.Delete(old, recursive: true);
    }

    /// <summary>The average over the clients of the bytes that each uploaded in all rounds.</summary>
    public double BytesSent => _sent.Average();

    /// <summary>The average over the clients of the bytes that whole adapters would have taken in all rounds.</summary>
    public double BytesDense => _dense.Average();

    /// <summary>The folder of the last round's global adapter.</summary>
    public string Result => Path.Combine(_folder, "final");

    /// <summary>
    /// Checks that the strategy takes this number of clients, with untrained adapters in place of uploads.
    /// </summary>
    /// <exception cref="FedIcuException">The strategy refuses the round.</exception>
    public async Task CheckAsync(Adapter start, CancellationToken cancellationToken)
    {
        // a root exists only after the server trained it
        if (_strategy.NeedsRoot)
            return;
        using MemoryModel global = AsModel(start.Factors());
        var inputs = new AggregationRound(global, _strategy.Create("").Options with { Round = 1 });
        foreach (ClientText client in _clients)
            inputs.Add(ClientUpdate.FromTensors(client.Name, AsModel(start.Factors(), Statements(1, client, loss: 0))));
        await _aggregator.CheckAsync(inputs, cancellationToken: cancellationToken);
    }

    /// <summary>Runs all rounds.</summary>
    /// <returns>The global adapter after the last round.</returns>
    public async Task<Adapter> RunAsync(Adapter start, Action tick, CancellationToken cancellationToken)
    {
        string global = GlobalFolder(1);
        SaveAdapter(start, global);
        for (int round = 1; round <= _options.Rounds; round++)
        {
            string[] uploads = new string[_clients.Count];
            Cores.Run(uploads.Length, client => uploads[client] = TrainClient(round, client, tick), cancellationToken);
            global = await AggregateAsync(round, uploads, cancellationToken);
        }

        return LoadAdapter(global);
    }

    /// <summary>
    /// The server's part of a round: reads the global adapter and the uploads, writes the next global adapter.
    /// </summary>
    private async Task<string> AggregateAsync(int round, string[] uploads, CancellationToken cancellationToken)
    {
        string next = round < _options.Rounds ? GlobalFolder(round + 1) : Result;
        if (_strategy.NeedsRoot)
            TrainRoot(round, cancellationToken);
        using TensorSource global = TensorSource.Open(GlobalFolder(round));
        (StageAggregator aggregator, RoundOptions settings) = _strategy.Create(RootFolder(round));
        using RoundState? state = aggregator.KeepsState ? RoundState.InFile(StatePath()) : null;
        var inputs = new AggregationRound(global, settings with { Round = round }) { State = state };
        for (int client = 0; client < uploads.Length; client++)
            inputs.Add(ClientUpdate.FromFile(_clients[client].Name, uploads[client]));
        AggregationResult result = await aggregator.AggregateAsync(inputs, TensorSink.ToAdapterFolder(next, Config), cancellationToken);
        await File.WriteAllTextAsync(Path.Combine(RoundFolder(round), "report.json"), result.Report.ToJson(), cancellationToken);
        return next;
    }

    /// <summary>A client's part of a round: trains a copy of the received adapter and saves the upload.</summary>
    /// <returns>The path of the upload.</returns>
    private string TrainClient(int round, int client, Action tick)
    {
        using TensorSource received = TensorSource.Open(GlobalFolder(round));
        ClientText text = _clients[client];
        // FedProx adds this term on the clients; its server aggregates as FedAvg does
        GradientTerm? term = _aggregator.Stages.OfType<FedProx>().FirstOrDefault() is { } fedProx
            ? new ProximalTerm(fedProx.Options.Mu).AddGradient
            : null;
        Adapter start = LoadAdapter(GlobalFolder(round)), adapter = start.Copy();
        Random random = RandomOf(_options.Seed, round, client);
        Attack? attack = _attack?.IsAttacker(client) is true ? _attack : null;
        double loss = Trainer.TrainAdapter(
            _model, adapter, text.Train, _options.Steps, random, tick, term, attack?.MakeTargets(text.Train, random));
        attack?.Falsify(start, adapter, random);

        string folder = ClientFolder(round, client);
        Dictionary<string, string> metadata = Statements(round, text, loss);
        metadata[MetadataKeys.Base] = ModelDigest.Compute(received);
        SaveAdapter(adapter, folder, metadata);
        string whole = Path.Combine(folder, "adapter_model.safetensors");
        string upload = SendsMasked ? MaskUpdate(round, client, received) : whole;
        _dense[client] += new FileInfo(whole).Length;
        _sent[client] += new FileInfo(upload).Length;
        return upload;
    }

    /// <summary>The server's own training on its own text, to which it compares the clients' updates.</summary>
    private void TrainRoot(int round, CancellationToken cancellationToken)
    {
        Adapter adapter = LoadAdapter(GlobalFolder(round));
        Trainer.TrainAdapter(
            _model, adapter, _serverText, _options.Steps, RandomOf(_options.Seed, round, Server),
            cancellationToken.ThrowIfCancellationRequested);
        SaveAdapter(adapter, RootFolder(round));
    }

    /// <summary>Makes the metadata in which a client says what the server's strategy needs to know.</summary>
    /// <param name="round">The round.</param>
    /// <param name="client">The client's text.</param>
    /// <param name="loss">The received adapter's loss on a batch of the text, in nats.</param>
    private Dictionary<string, string> Statements(int round, ClientText client, double loss)
    {
        var metadata = new Dictionary<string, string>
        {
            [MetadataKeys.Examples] = client.Train.Length.ToString(CultureInfo.InvariantCulture),
            [MetadataKeys.Round] = round.ToString(CultureInfo.InvariantCulture),
        };
        if (_aggregator.Stages.Any(stage => stage.ReadsStatements))
        {
            metadata[MetadataKeys.LocalSteps] = _options.Steps.ToString(CultureInfo.InvariantCulture);
            metadata[MetadataKeys.Loss] = loss.ToString("R", CultureInfo.InvariantCulture);
        }

        return metadata;
    }

    /// <summary>Masks the trained adapter: FedICU's clients send only their important entries.</summary>
    private string MaskUpdate(int round, int client, TensorSource received)
    {
        string folder = ClientFolder(round, client), update = Path.Combine(folder, UpdateFile);
        using TensorSource trained = TensorSource.Open(folder);
        _masking.CreateUpdate(received, trained, TensorSink.ToFile(update));
        return update;
    }

    /// <summary>Gets the arguments with which <c>fedicu explain</c> shows a round.</summary>
    public string RoundArguments(int round) => string.Join(' ', _clients.Select((client, i) =>
        $"--client {client.Name}={Path.Combine(ClientFolder(round, i), SendsMasked ? UpdateFile : "")}")
        .Prepend($"{_strategy.Arguments(RootFolder(round))} --global {GlobalFolder(round)}"));

    // FedICU's clients mask their updates
    private bool SendsMasked => _aggregator.Stages.OfType<FedIcu>().Any();

    private string StatePath() =>
        Path.Combine(Directory.CreateDirectory(Path.Combine(_folder, StateFolder)).FullName, "state.safetensors");

    private string RootFolder(int round) => Path.Combine(RoundFolder(round), "root");

    private string RoundFolder(int round) =>
        Path.Combine(_folder, string.Create(CultureInfo.InvariantCulture, $"round-{round:00}"));

    private string GlobalFolder(int round) => Path.Combine(RoundFolder(round), "global");

    private string ClientFolder(int round, int client) => Path.Combine(RoundFolder(round), "client-" + _clients[client].Name);

    /// <summary>Creates the random numbers of a client in a round. They do not depend on the aggregator.</summary>
    public static Random RandomOf(int seed, int round, int client) => new(unchecked(seed * 1_000_003 + round * 1009 + client));

    /// <summary>Saves an adapter as PEFT does, so that PEFT and <c>fedicu</c> can read the folder.</summary>
    public static void SaveAdapter(Adapter adapter, string folder, Dictionary<string, string>? metadata = null) =>
        AsModel(adapter.Factors(), metadata).SaveTo(TensorSink.ToAdapterFolder(folder, Config));

    public static void SaveBase(LanguageModel model, string path) => AsModel(model.Parameters()).SaveTo(TensorSink.ToFile(path));

    public static LanguageModel LoadBase(string path)
    {
        var model = new LanguageModel();
        Load(path, model.Parameters());
        return model;
    }

    private static Adapter LoadAdapter(string folder)
    {
        var adapter = new Adapter();
        Load(folder, adapter.Factors());
        return adapter;
    }

    private static MemoryModel AsModel(IEnumerable<(string Name, Matrix Values)> matrices, Dictionary<string, string>? metadata = null)
    {
        var model = new MemoryModel(metadata);
        foreach ((string name, Matrix values) in matrices)
            model.Add(name, [values.Rows, values.Columns], values.Data);
        return model;
    }

    private static void Load(string path, IEnumerable<(string Name, Matrix Values)> matrices)
    {
        using TensorSource source = TensorSource.Open(path);
        foreach ((string name, Matrix values) in matrices)
        {
            var expected = new TensorInfo(name, DType.F32, new TensorShape(values.Rows, values.Columns));
            if (source.Find(name) is not { } found || found != expected)
            {
                throw new InvalidModelException(
                    $"'{path}': tensor '{name}' is {source.Find(name)?.ToString() ?? "missing"}; {expected} was expected.");
            }

            source.Read(found, 0, MemoryMarshal.AsBytes(values.Data.AsSpan()));
        }
    }
}
