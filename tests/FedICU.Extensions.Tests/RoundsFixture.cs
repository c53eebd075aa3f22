using FedICU.Tests.Files;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>The folder, the host and the clients of tests of a server's rounds.</summary>
internal abstract class RoundsFixture
{
    // the longest time that a test waits for a round
    protected static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    protected TempFolder Folder { get; private set; } = null!;

    protected string Place => Folder["rounds"];

    [SetUp]
    public void Prepare()
    {
        Folder = new TempFolder();
        Rounds.Model(0).SaveTo(TensorSink.ToFile(Folder["initial.safetensors"]));
    }

    [TearDown]
    public void Remove() => Folder.Dispose();

    protected async Task<IHost> StartAsync(
        string strategy = "fedavg", Action<FederatedRoundsOptions>? more = null, Action<IServiceCollection>? add = null)
    {
        IHost host = Rounds.CreateHost(services =>
        {
            services.AddFedIcu(options => options.Strategy = strategy);
            services.AddFedIcuRounds(options =>
            {
                options.Folder = Place;
                options.InitialModel = Folder["initial.safetensors"];
                options.ExpectedClients = 3;
                more?.Invoke(options);
            });
            add?.Invoke(services);
        });
        await host.StartAsync();
        return host;
    }

    protected static FederatedRounds Of(IHost host) => host.Services.GetRequiredService<FederatedRounds>();

    protected byte[] File(TensorSource model)
    {
        string path = Folder["upload.safetensors"];
        model.SaveTo(TensorSink.ToFile(path));
        return System.IO.File.ReadAllBytes(path);
    }

    protected async Task<UpdateReceipt> SendAsync(IHost host, long round, int client) =>
        await Of(host).AddAsync(round, $"client-{client}", new MemoryStream(File(Rounds.Model(client + (10 * (int)round)))), 10 * client);

    /// <summary>Sends an update of the right form whose matrix is NaN.</summary>
    protected async Task<UpdateReceipt> SendNonFiniteAsync(IHost host, long round, string client) =>
        await Of(host).AddAsync(round, client, new MemoryStream(File(new MemoryModel
        {
            { "layer.weight", [6, 5], [.. Enumerable.Repeat(float.NaN, 30)] },
            { "layer.bias", [6], new float[6] },
        })), 10);

    protected static byte[] Bits(string path)
    {
        using TensorSource model = TensorSource.Open(path);
        return Rounds.Bytes(model);
    }

    /// <summary>Computes the global models of rounds of three clients in this process, without a server.</summary>
    protected static List<byte[]> Expect(string strategy, int rounds)
    {
        StageAggregator aggregator = StrategyRegistry.Default.Create(strategy, []).Aggregator;
        using RoundState? state = aggregator.KeepsState ? RoundState.InMemory() : null;
        MemoryModel global = Rounds.Model(0);
        var sinks = new List<MemorySink>();
        for (int number = 1; number <= rounds; number++)
        {
            var round = new AggregationRound(global) { State = state };
            for (int client = 1; client <= 3; client++)
                round.Add(ClientUpdate.FromTensors($"client-{client}", Rounds.Model(client + (10 * number)), 10 * client));
            var sink = new MemorySink();
            aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
            sinks.Add(sink);
            global = sink.Model;
        }

        List<byte[]> models = [.. sinks.Select(sink => Rounds.Bytes(sink.Model))];
        sinks.ForEach(sink => sink.Dispose());
        return models;
    }
}
