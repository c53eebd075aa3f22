using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using FedICU.Registry;
using FedICU.Tests;
using Grpc.Core;
using Grpc.Net.Client;
using static FedICU.Fedn.Tests.Rounds;

namespace FedICU.Fedn.Tests;

/// <summary>Tests the files of samples/fedn: the configuration, and the certificates that its script makes.</summary>
internal sealed class SampleTests
{
    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("fedicu-sample-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void TheConfigurationSetsEveryPolicy()
    {
        using JsonDocument sample = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Sample(), "appsettings.json")));
        JsonElement settings = sample.RootElement.GetProperty("FedIcu").GetProperty("Settings");
        string[] set = [.. settings.EnumerateObject().Select(setting => setting.Name)];
        IEnumerable<string> known = StrategyRegistry.RoundOptions.Select(option => option.Name)
            .Where(name => name.StartsWith("on-", StringComparison.Ordinal));
        Assert.That(set, Is.SupersetOf(known));
        Assert.That(known, Has.Exactly(1).EqualTo("on-unreadable"));
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "the certificates are made by a POSIX script")]
    public async Task TheServiceRunsWithTheSamplesFiles()
    {
        if (Tools.TryRun("openssl", ["version"], out _) != 0)
            Tools.Missing("openssl");
        Assert.That(Tools.TryRun("sh", [Path.Combine(Sample(), "certificates.sh"), _folder, "fedicu"], out string output), Is.Zero, output);
        string server = Path.Combine(_folder, "server"), client = Path.Combine(_folder, "client");
        string settings = File.ReadAllText(Path.Combine(Sample(), "appsettings.json"))
            .Replace("/certificates", server, StringComparison.Ordinal)
            .Replace("\"/spool\"", $"\"{_folder}/spool\"", StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(_folder, "appsettings.json"), settings);
        // the port of the sample may be in use
        await using FednServer service = await FednServer.StartOverAsync(
            $"{_folder}/spool", "fedicu", $"--contentRoot={_folder}", "--Kestrel:Endpoints:Fedn:Url=https://127.0.0.1:0");
        using var own = X509Certificate2.CreateFromPemFile(Path.Combine(client, "cert.pem"), Path.Combine(client, "key.pem"));
        using (FednCombiner combiner = Connect(service, client, own))
        {
            byte[] expected = Expected("fedicu", Archives.Model(1), RoundClients, "tau=0.1").Archive;
            Assert.That(Contents(await combiner.RoundAsync(Global, RoundClients)), Is.EqualTo(Contents(expected)));
        }

        using FednCombiner stranger = Connect(service, client, null);
        Assert.ThrowsAsync<RpcException>(stranger.BeginAsync);
    }

    private static FednCombiner Connect(FednServer service, string folder, X509Certificate2? certificate)
    {
        var policy = new X509ChainPolicy { TrustMode = X509ChainTrustMode.CustomRootTrust, RevocationMode = X509RevocationMode.NoCheck };
        policy.CustomTrustStore.ImportFromPemFile(Path.Combine(folder, "ca.pem"));
        var ssl = new SslClientAuthenticationOptions
        {
            CertificateChainPolicy = policy,
            ClientCertificates = certificate is null ? [] : [certificate],
        };
        return new FednCombiner(GrpcChannel.ForAddress(service.Urls[0], new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { SslOptions = ssl },
            DisposeHttpClient = true,
        }));
    }

    /// <summary>Returns the sample's folder; skips the test where only the built tests are.</summary>
    private static string Sample()
    {
        for (string? folder = TestContext.CurrentContext.TestDirectory; folder is not null; folder = Path.GetDirectoryName(folder))
        {
            string sample = Path.Combine(folder, "samples", "fedn");
            if (Directory.Exists(sample))
                return sample;
        }

        Assert.Ignore("the samples are not here");
        return "";
    }
}
