using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;

namespace FedICU.Fedn.Tests;

/// <summary>Tests that only certificates of the configured authority open a connection.</summary>
internal sealed class ClientAuthorityTests
{
    private const string ClientUse = "1.3.6.1.5.5.7.3.2", ServerUse = "1.3.6.1.5.5.7.3.1";
    private const string Url = "--Kestrel:Endpoints:Fedn:Url=";
    private const string Mode = "--Kestrel:Endpoints:Fedn:ClientCertificateMode=";

    private string _folder = "";
    private X509Certificate2 _ours = null!, _theirs = null!, _server = null!;

    [OneTimeSetUp]
    public void CreateCertificates()
    {
        _folder = Directory.CreateTempSubdirectory("fedicu-authority-").FullName;
        _ours = CreateAuthority("CN=ours");
        // the same name, so that only the signature differs
        _theirs = CreateAuthority("CN=ours");
        _server = Sign(_ours, "CN=localhost", ServerUse);
        File.WriteAllText(InFolder("ca.pem"), _ours.ExportCertificatePem());
        File.WriteAllText(InFolder("cert.pem"), _server.ExportCertificatePem());
        File.WriteAllText(InFolder("key.pem"), _server.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
    }

    [OneTimeTearDown]
    public void DeleteCertificates()
    {
        foreach (X509Certificate2 certificate in (X509Certificate2[])[_ours, _theirs, _server])
            certificate.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    [Test]
    public async Task OnlyCertificatesOfTheAuthorityAreAccepted()
    {
        // listens on all addresses: the authority alone is enough for the rules of access
        await using FednServer server = await FednServer.StartAsync("fedavg", [$"{Url}https://0.0.0.0:0", .. Files()]);
        byte[] model = Archives.Of(Archives.Model(1));
        using (X509Certificate2 good = Sign(_ours, "CN=combiner", ClientUse))
        using (FednCombiner combiner = Connect(server, good))
            Assert.That(Archives.Read(await combiner.RoundAsync(model, ("a", 1, model))), Has.Count.EqualTo(12));

        using X509Certificate2 other = Sign(_theirs, "CN=combiner", ClientUse), forServers = Sign(_ours, "CN=combiner", ServerUse),
            old = Sign(_ours, "CN=combiner", ClientUse, days: -1), alone = CreateAuthority("CN=alone");
        foreach ((string fault, X509Certificate2? certificate) in ((string, X509Certificate2?)[])
            [("of another authority", other), ("for servers", forServers), ("expired", old), ("signed by itself", alone), ("none", null)])
        {
            using FednCombiner stranger = Connect(server, certificate);
            StatusCode status = Assert.ThrowsAsync<RpcException>(stranger.BeginAsync, fault)!.StatusCode;
            Assert.That(status, Is.EqualTo(StatusCode.Unavailable).Or.EqualTo(StatusCode.Internal), fault);
        }
    }

    /// <summary>The refusal is the configured authority's, not only that of the machine's store.</summary>
    [Test]
    public async Task AnotherAuthorityAcceptsItsOwnCertificates()
    {
        File.WriteAllText(InFolder("theirs.pem"), _theirs.ExportCertificatePem());
        await using FednServer server = await FednServer.StartAsync(
            "fedavg", [$"{Url}https://127.0.0.1:0", .. Files(), $"--FedIcu:ClientAuthority={InFolder("theirs.pem")}"]);
        using X509Certificate2 theirs = Sign(_theirs, "CN=combiner", ClientUse), ours = Sign(_ours, "CN=combiner", ClientUse);
        using FednCombiner welcome = Connect(server, theirs), stranger = Connect(server, ours);
        await welcome.BeginAsync();
        Assert.ThrowsAsync<RpcException>(stranger.BeginAsync);
    }

    [Test]
    public async Task TheCertificatesBetweenTheServicesAndTheAuthorityAreSent()
    {
        using X509Certificate2 middle = Sign(_ours, "CN=middle", ServerUse, isAuthority: true),
            leaf = Sign(middle, "CN=localhost", ServerUse);
        File.WriteAllText(InFolder("chain.pem"), leaf.ExportCertificatePem() + "\n" + middle.ExportCertificatePem() + "\n");
        File.WriteAllText(InFolder("leaf-key.pem"), leaf.GetECDsaPrivateKey()!.ExportPkcs8PrivateKeyPem());
        await using FednServer server = await FednServer.StartAsync(
            "fedavg", $"{Url}https://127.0.0.1:0", $"--FedIcu:Certificate={InFolder("chain.pem")}",
            $"--FedIcu:CertificateKey={InFolder("leaf-key.pem")}");
        // the client knows the authority only
        using FednCombiner combiner = Connect(server, null);
        await combiner.BeginAsync();
    }

    [TestCase("http://127.0.0.1:0"), TestCase("https://127.0.0.1:0", Mode + "NoCertificate")]
    [TestCase("https://*:0", Mode + "AllowCertificate", "--allow-anonymous")]
    [TestCase("https://*:0", "--Kestrel:EndpointDefaults:ClientCertificateMode=DelayCertificate")]
    [TestCase("https://*:0", "--Kestrel:Endpoints:Fedn:Sni:a.example:ClientCertificateMode=NoCertificate")]
    public void AnEndpointThatAsksForNoCertificateContradictsTheAuthority(string url, params string[] more) => Assert.That(
        () => Build([$"{Url}{url}", .. Files(), .. more]),
        Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo(
            $"The endpoint 'Fedn' at '{url}' does not ask for client certificates, but FedIcu:ClientAuthority is set; " +
            "https without another ClientCertificateMode than RequireCertificate was expected."));

    [Test]
    public void FilesThatCannotBeUsedAreRefused()
    {
        File.WriteAllText(InFolder("empty.pem"), "");
        Expect(
            ["--FedIcu:ClientAuthority=" + InFolder("no.pem")],
            "FedIcu:ClientAuthority '{0}/no.pem' cannot be read: there is no such file or folder.");
        Expect(
            ["--FedIcu:ClientAuthority=" + InFolder("empty.pem")],
            "FedIcu:ClientAuthority '{0}/empty.pem' cannot be used: it holds no certificate; PEM was expected.");
        Expect(["--FedIcu:Certificate=" + InFolder("empty.pem")], "FedIcu:Certificate '{0}/empty.pem' cannot be used: ");
        Expect(["--FedIcu:Certificate=" + InFolder("cert.pem")], "FedIcu:Certificate '{0}/cert.pem' cannot be used: ");
        Expect(["--FedIcu:CertificateKey=" + InFolder("key.pem")], "FedIcu:CertificateKey is set without FedIcu:Certificate.");

        void Expect(string[] args, string message) => Assert.That(
            () => Build(args),
            Throws.InstanceOf<FedIcuException>().With.Message.StartWith(message.Replace("{0}", _folder, StringComparison.Ordinal)));
    }

    private string InFolder(string name) => Path.Combine(_folder, name);

    private string[] Files() =>
    [
        $"--FedIcu:Certificate={InFolder("cert.pem")}", $"--FedIcu:CertificateKey={InFolder("key.pem")}",
        $"--FedIcu:ClientAuthority={InFolder("ca.pem")}",
    ];

    private void Build(params string[] args)
    {
        WebApplication app = FednHost.Build(
            ["--FedIcu:Strategy=fedavg", $"--FedIcu:Spool={InFolder("spool")}", "--Logging:LogLevel:Default=None", .. args]);
        app.StopAsync().GetAwaiter().GetResult();
        ((IDisposable)app).Dispose();
    }

    private FednCombiner Connect(FednServer server, X509Certificate2? certificate)
    {
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
            CustomTrustStore = { _ours },
        };
        var ssl = new SslClientAuthenticationOptions
        {
            CertificateChainPolicy = policy,
            ClientCertificates = certificate is null ? [] : [certificate],
        };
        string url = $"https://127.0.0.1:{new Uri(server.Urls[0]).Port}";
        return new FednCombiner(GrpcChannel.ForAddress(url, new GrpcChannelOptions
        {
            HttpHandler = new SocketsHttpHandler { SslOptions = ssl },
            DisposeHttpClient = true,
        }));
    }

    private static X509Certificate2 CreateAuthority(string name)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        // an authority below it, and certificates below that
        request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 1, true));
        request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        return request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-3), DateTimeOffset.UtcNow.AddDays(3));
    }

    /// <summary>Signs a certificate that can be used in a handshake.</summary>
    private static X509Certificate2 Sign(X509Certificate2 authority, string name, string use, int days = 2, bool isAuthority = false)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest(name, key, HashAlgorithmName.SHA256);
        request.CertificateExtensions.Add(new X509EnhancedKeyUsageExtension([new Oid(use)], true));
        if (isAuthority)
        {
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(true, true, 0, true));
            request.CertificateExtensions.Add(new X509KeyUsageExtension(X509KeyUsageFlags.KeyCertSign, true));
        }

        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        using X509Certificate2 bare = request.Create(
            authority, DateTimeOffset.UtcNow.AddDays(-2), DateTimeOffset.UtcNow.AddDays(days), RandomNumberGenerator.GetBytes(8));
        using X509Certificate2 whole = bare.CopyWithPrivateKey(key);
        return X509CertificateLoader.LoadPkcs12(whole.Export(X509ContentType.Pkcs12), null, X509KeyStorageFlags.Exportable);
    }
}
