using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;

namespace FedICU.Fedn.Tests;

/// <summary>The bridge on free ports of the loopback device, with its own spool.</summary>
internal sealed class FednServer : IAsyncDisposable
{
    private readonly WebApplication _app;

    private FednServer(WebApplication app, string spool) => (_app, Spool) = (app, spool);

    public string Spool { get; }

    public IReadOnlyList<string> Urls => [.. _app.Urls.Order(StringComparer.Ordinal)];

    /// <summary>The models in the spool.</summary>
    public string[] Files => Directory.Exists(Spool)
        ? [.. Directory.EnumerateFiles(Spool, "*.*", SearchOption.AllDirectories)
            .Where(file => Path.GetExtension(file) is ".npz" or ".safetensors")]
        : [];

    public static async Task<FednServer> StartAsync(string strategy, params string[] settings)
    {
        string spool = Directory.CreateTempSubdirectory("fedicu-fedn-tests-").FullName;
        WebApplication app = FednHost.Build(
        [
            "--Kestrel:Endpoints:Fedn:Url=http://127.0.0.1:0", "--Logging:LogLevel:Default=None", $"--FedIcu:Strategy={strategy}",
            $"--FedIcu:Spool={spool}", .. settings,
        ]);
        await app.StartAsync();
        return new FednServer(app, spool);
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
        string[] left = Directory.GetDirectories(Spool);
        Directory.Delete(Spool, recursive: true);
        Assert.That(left, Is.Empty, "the host must delete its folder");
    }
}
