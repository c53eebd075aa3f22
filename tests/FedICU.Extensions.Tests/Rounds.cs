using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>Creates small hosts, models and rounds.</summary>
internal static class Rounds
{
    /// <summary>Creates a configuration. Of several values with the same name, the last one counts.</summary>
    public static IConfiguration Configuration(params (string Name, string? Value)[] values)
    {
        IEnumerable<(string Name, string? Value)> last = values.Reverse().DistinctBy(pair => pair.Name);
        return new ConfigurationBuilder()
            .AddInMemoryCollection(last.Select(pair => KeyValuePair.Create(pair.Name, pair.Value)))
            .Build();
    }

    /// <summary>
    /// Creates a host with the given services, which reads no configuration files and no environment variables.
    /// </summary>
    public static IHost CreateHost(Action<IServiceCollection> add)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        add(builder.Services);
        return builder.Build();
    }

    /// <summary>Writes the library's strategies for <c>NAMES</c> in a sentence.</summary>
    public static string Name(string sentence) =>
        sentence.Replace("NAMES", string.Join(", ", WithLora().Names), StringComparison.Ordinal);

    private static StrategyRegistry WithLora()
    {
        var registry = new StrategyRegistry();
        new LoraStrategies().Register(registry);
        return registry;
    }

    /// <summary>Creates a model of a matrix and a vector, which are the same for the same seed.</summary>
    public static MemoryModel Model(int seed, params (string Key, string Value)[] metadata)
    {
        var random = new Random(seed);
        return new MemoryModel(metadata.ToDictionary(pair => pair.Key, pair => pair.Value))
        {
            { "layer.weight", [6, 5], Values(30) },
            { "layer.bias", [6], Values(6) },
        };

        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - .5f)];
    }

    /// <summary>Aggregates three clients in memory and returns the bytes of the new model.</summary>
    public static byte[] Aggregate(IAggregator aggregator, RoundOptions options)
    {
        var round = new AggregationRound(Model(0), options);
        for (int client = 1; client <= 3; client++)
            round.Add(ClientUpdate.FromTensors($"client-{client}", Model(client), examples: 10 * client));
        using var sink = new MemorySink();
        aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult();
        return Bytes(sink.Model);
    }

    public static byte[] Bytes(TensorSource model) => [.. model.Tensors.SelectMany(tensor =>
    {
        byte[] bytes = new byte[tensor.ByteLength];
        model.Read(tensor, 0, bytes);
        return bytes;
    })];
}
