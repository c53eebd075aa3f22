using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;

namespace FedICU.Fedn.Tests;

/// <summary>The bridge on free ports of the loopback device, with its own spool.</summary>
internal sealed class FednServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly bool _keepsSpool;

    private FednServer(WebApplication app, string spool, bool keepsSpool) => (_app, Spool, _keepsSpool) = (app, spool, keepsSpool);

    public string Spool { get; }

    public IReadOnlyList<string> Urls => [.. _app.Urls.Order(StringComparer.Ordinal)];

    /// <summary>The models in the spool.</summary>
    public string[] Files => Directory.Exists(Spool)
        ? [.. Directory.EnumerateFiles(Spool, "*.*", SearchOption.AllDirectories)
            .Where(file => Path.GetExtension(file) is ".npz" or ".safetensors")]
        : [];

    /// <summary>The bytes that the spool counts.</summary>
    public long Used => _app.Services.GetRequiredService<Spool>().Used;

    /// <summary>The bytes of the models in the spool.</summary>
    public long FileBytes => Files.Sum(file => new FileInfo(file).Length);

    public static Task<FednServer> StartAsync(string strategy, params string[] settings) =>
        StartAsync(Directory.CreateTempSubdirectory("fedicu-fedn-tests-").FullName, keepsSpool: false, strategy, settings);

    /// <summary>Starts the bridge over a spool that stays when it is stopped.</summary>
    public static Task<FednServer> StartOverAsync(string spool, string strategy, params string[] settings) =>
        StartAsync(spool, keepsSpool: true, strategy, settings);

    private static async Task<FednServer> StartAsync(string spool, bool keepsSpool, string strategy, string[] settings)
    {
        WebApplication app = FednHost.Build(
        [
            "--Kestrel:Endpoints:Fedn:Url=http://127.0.0.1:0", "--Logging:LogLevel:Default=None",
            "--Logging:LogLevel:Microsoft.AspNetCore=None", "--Logging:LogLevel:Grpc=None", $"--FedIcu:Strategy={strategy}",
            $"--FedIcu:Spool={spool}", .. settings,
        ]);
        await app.StartAsync();
        return new FednServer(app, spool, keepsSpool);
    }

    public FednCombiner Combiner(int endpoint = 0, params string[] authorizations)
    {
        var options = new GrpcChannelOptions { MaxReceiveMessageSize = null, MaxSendMessageSize = null };
        return new FednCombiner(GrpcChannel.ForAddress(Urls[endpoint], options), authorizations);
    }

    public async ValueTask DisposeAsync()
    {
        await _app.StopAsync();
        await _app.DisposeAsync();
        using (new Spool(Spool, long.MaxValue))
        {
            // the host no longer holds the spool
        }

        if (!_keepsSpool)
            Directory.Delete(Spool, recursive: true);
    }
}
