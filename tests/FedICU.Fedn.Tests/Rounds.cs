using System.Security.Cryptography;
using Grpc.Core;

namespace FedICU.Fedn.Tests;

/// <summary>The models of a round, its result without the bridge, and helpers for the tests over gRPC.</summary>
internal static class Rounds
{
    public static byte[] Global { get; } = Archives.Of(Archives.Model(1));

    public static (string Id, double Examples, byte[] Model)[] RoundClients { get; } =
    [
        ("zoe", 120, Archives.Of(Archives.Model(2))),
        ("adam", 30, Archives.Of(Archives.Model(3))),
        ("mia", 50, Archives.Of(Archives.Model(4))),
    ];

    /// <summary>Aggregates some of <see cref="RoundClients"/> by the library without the bridge.</summary>
    public static (byte[] Archive, MemoryModel Model) Expected(
        string strategy, MemoryModel global, (string Id, double Examples, byte[] Model)[] clients, params string[] settings) =>
        Expected(strategy, global, clients, null, settings);

    /// <inheritdoc cref="Expected(string, MemoryModel, ValueTuple{string, double, byte[]}[], string[])"/>
    public static (byte[] Archive, MemoryModel Model) Expected(
        string strategy, MemoryModel global, (string Id, double Examples, byte[] Model)[] clients, RoundState? state,
        params string[] settings)
    {
        ConfiguredRound configured = StrategyRegistry.Default.Create(strategy, settings.Select(setting =>
            new KeyValuePair<string, string>(setting.Split('=')[0], setting.Split('=')[1].ToLowerInvariant())));
        var round = new AggregationRound(global, configured.Options) { State = state };
        foreach ((string id, double examples, byte[] archive) in clients)
        {
            // the models in RoundClients have the seeds 2, 3, 4
            int seed = 2 + Array.FindIndex(RoundClients, client => client.Model.AsSpan().SequenceEqual(archive));
            round.Add(ClientUpdate.FromTensors(id, Archives.Model(seed), examples));
        }

        var sink = new MemorySink();
        configured.Aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return (Archives.Of(sink.Model), sink.Model);
    }

    /// <summary>Returns the names and the hashes of the unpacked bytes of an archive, in its order.</summary>
    public static string Contents(byte[] archive) => string.Join(
        '\n', Archives.Read(archive).Select(entry => $"{entry.Name} {Convert.ToHexStringLower(SHA256.HashData(entry.Bytes))}"));

    /// <summary>Returns the status with which a call fails.</summary>
    public static Status Failure(Func<Task> call) => Assert.ThrowsAsync<RpcException>(async () => await call())!.Status;

    /// <summary>Waits until a condition holds.</summary>
    public static async Task Until(Func<bool> condition)
    {
        for (int i = 0; i < 500 && !condition(); i++)
            await Task.Delay(10);
        Assert.That(condition(), "within five seconds");
    }
}
