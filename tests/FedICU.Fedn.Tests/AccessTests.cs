using System.Net;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Health.V1;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;

namespace FedICU.Fedn.Tests;

/// <summary>Tests who may call: the addresses, the shared token, and client certificates.</summary>
internal sealed class AccessTests
{
    private const string Token = "correct-horse-battery-staple";
    private const string Fedn = "--Kestrel:Endpoints:Fedn:";
    private const string Mode = "ClientCertificateMode";

    private string _folder = "", _tokenFile = "";

    [SetUp]
    public void WriteToken()
    {
        _folder = Directory.CreateTempSubdirectory("fedicu-access-").FullName;
        _tokenFile = Path.Combine(_folder, "token");
        File.WriteAllText(_tokenFile, Token + "\n");
    }

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task ListensOnLoopbackByDefault()
    {
        string spool = Path.Combine(_folder, "spool");
        await using WebApplication app =
            FednHost.Build(["--FedIcu:Strategy=fedavg", $"--FedIcu:Spool={spool}", "--Logging:LogLevel:Default=None"]);
        Assert.That(app.Configuration["Kestrel:Endpoints:Fedn:Url"], Is.EqualTo("http://localhost:12081"));
    }

    [TestCase("http://*:0"), TestCase("http://+:0"), TestCase("http://0.0.0.0:0"), TestCase("http://[::]:0")]
    [TestCase("http://192.0.2.1:12081"), TestCase("http://combiner:0"), TestCase("http://localhost.example:0"), TestCase("https://*:0")]
    [TestCase("HTTPS://*:0", $"{Fedn}{Mode}=AllowCertificate")]
    [TestCase("http://*:0", $"{Fedn}{Mode}=RequireCertificate")]
    [TestCase("https://*:0", $"{Fedn}{Mode}=RequireCertificate", $"{Fedn}Sni:a.example:{Mode}=NoCertificate")]
    [TestCase("https://*:0", $"--Kestrel:EndpointDefaults:{Mode}=RequireCertificate", $"{Fedn}{Mode}=NoCertificate")]
    public void AnAddressThatOtherMachinesCanReachNeedsATokenOrClientCertificates(string url, params string[] more) => Assert.That(
        () => Build([$"{Fedn}Url={url}", .. more]),
        Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo(
            $"The endpoint 'Fedn' at '{url}' is open to other machines, and anyone may call it: FedIcu:Token, FedIcu:TokenFile, " +
            "https with FedIcu:ClientAuthority, https with ClientCertificateMode RequireCertificate, or --allow-anonymous was expected."));

    [Test]
    public void OneOpenEndpointAmongSeveralIsNamed() => Assert.That(
        () => Build($"{Fedn}Url=http://127.0.0.1:0", "--Kestrel:Endpoints:Second:Url=http://*:0"),
        Throws.TypeOf<InvalidOptionsException>().With.Message.StartsWith("The endpoint 'Second' at 'http://*:0'"));

    [TestCase("http://localhost:0"), TestCase("http://LOCALHOST:0"), TestCase("http://127.0.0.1:0"), TestCase("http://127.8.9.1:0")]
    [TestCase("http://[::1]:0"), TestCase("http://unix:/tmp/fedn.sock")]
    [TestCase("http://*:0", "--allow-anonymous"), TestCase("http://*:0", "--FedIcu:AllowAnonymous=true")]
    [TestCase("http://*:0", "--FedIcu:TokenFile={token}")]
    [TestCase("https://*:0", $"{Fedn}{Mode}=RequireCertificate")]
    [TestCase("https://*:0", $"--Kestrel:EndpointDefaults:{Mode}=requirecertificate")]
    [TestCase("https://*:0", $"{Fedn}{Mode}=RequireCertificate", $"{Fedn}Sni:a.example:SslProtocols:0=Tls13")]
    public void ALocalOrProtectedAddressIsAccepted(string url, params string[] more) => Assert.That(
        () => Build([$"{Fedn}Url={url}", .. more.Select(option => option.Replace("{token}", _tokenFile, StringComparison.Ordinal))]),
        Throws.Nothing);

    [Test]
    public async Task OnlyEndpointsOpenAddresses()
    {
        await using FednServer server =
            await FednServer.StartAsync("fedavg", "--preferHostingUrls=true", "--urls=http://*:0", "--http_ports=0");
        Assert.That(server.Urls, Has.Count.EqualTo(1).And.All.StartsWith("http://127.0.0.1:"));
    }

    [Test]
    public void ATokenOnTheCommandLineIsRefused([Values("--FedIcu:Token=" + Token, "/fedicu:token=" + Token)] string arg) =>
        Assert.That(() => Build(arg), Throws.TypeOf<InvalidOptionsException>().With.Message.StartWith(
            "FedIcu:Token is on the command line, which other users of the machine can read;"));

    [Test]
    public void ATokenMayComeFromTheEnvironment()
    {
        Environment.SetEnvironmentVariable("FedIcu__Token", Token);
        try
        {
            Assert.That(() => Build($"{Fedn}Url=http://*:0"), Throws.Nothing);
            Assert.That(() => Build($"--FedIcu:TokenFile={_tokenFile}"), Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo(
                "FedIcu:Token and FedIcu:TokenFile are both set; one of them was expected."));
            Environment.SetEnvironmentVariable("FedIcu__Token", "short");
            Assert.That(() => Build(), Throws.TypeOf<InvalidOptionsException>().With.Message.EqualTo(
                "FedIcu:Token has a token of 5 characters; at least 16 were expected."));
        }
        finally
        {
            Environment.SetEnvironmentVariable("FedIcu__Token", null);
        }
    }

    [Test]
    public void ATokenFileThatCannotBeUsedIsRefused()
    {
        Expect("FedIcu:TokenFile has a token of 0 characters; at least 16 were expected.", "\n");
        Expect(
            "FedIcu:TokenFile has a token with a character that is not visible ASCII; letters, digits and signs were expected.",
            "a token with spaces in it");
        Expect($"The token's file '{_tokenFile}' has more than 4096 bytes.", new string('x', 4097));
        File.Delete(_tokenFile);
        Expect($"The token's file '{_tokenFile}' cannot be read: there is no such file or folder.", null);

        void Expect(string message, string? content)
        {
            if (content is not null)
                File.WriteAllText(_tokenFile, content);
            Assert.That(
                () => Build($"--FedIcu:TokenFile={_tokenFile}"), Throws.InstanceOf<FedIcuException>().With.Message.EqualTo(message));
        }
    }

    [Test]
    public async Task EveryCallNeedsTheToken()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", $"--FedIcu:TokenFile={_tokenFile}");
        byte[] model = Archives.Of(Archives.Model(1));
        string[][] wrongHeaders =
        [
            [], ["Bearer wrong-horse-battery-staple"], [$"Basic {Token}"], [Token], ["Bearer"], [$"Bearer {Token}x"],
            [$"Bearer {Token[..^1]}"], [$"Bearer {Token}", $"Bearer {Token}"],
        ];
        foreach (string[] wrong in wrongHeaders)
        {
            using FednCombiner stranger = server.Combiner(0, wrong);
            Func<Task>[] calls =
            [
                stranger.BeginAsync, () => stranger.MetadataAsync("a", "{}"), () => stranger.StoreAsync("a", model),
                () => stranger.AggregateAsync(),
            ];
            foreach (Func<Task> call in calls)
            {
                Status status = Assert.ThrowsAsync<RpcException>(async () => await call())!.Status;
                Assert.That(status.StatusCode, Is.EqualTo(StatusCode.Unauthenticated), string.Join(", ", wrong));
                Assert.That(status.Detail, Is.EqualTo(
                    "The call does not carry the token of this service: authorization: Bearer TOKEN was expected."));
            }

            var health = new Health.HealthClient(stranger.Channel);
            HealthCheckResponse response = await health.CheckAsync(new HealthCheckRequest(), deadline: FednCombiner.Deadline());
            Assert.That(response.Status, Is.EqualTo(HealthCheckResponse.Types.ServingStatus.Serving));
        }

        Assert.That(server.Files, Is.Empty);
        foreach (string right in (string[])[$"Bearer {Token}", $"bearer {Token}"])
        {
            using FednCombiner known = server.Combiner(0, right);
            Assert.That(Archives.Read(await known.RoundAsync(model, ("a", 1, model))), Has.Count.EqualTo(12));
        }
    }

    [Test]
    public async Task RequireCertificateRefusesUntrustedClientCertificates()
    {
        using var key = RSA.Create(2048);
        using X509Certificate2 certificate =
            new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        await File.WriteAllTextAsync(Path.Combine(_folder, "cert.pem"), certificate.ExportCertificatePem());
        await File.WriteAllTextAsync(Path.Combine(_folder, "key.pem"), key.ExportPkcs8PrivateKeyPem());
        await using FednServer server = await FednServer.StartAsync(
            "fedavg", $"{Fedn}Url=https://0.0.0.0:0", $"{Fedn}{Mode}=RequireCertificate",
            $"--Kestrel:Certificates:Default:Path={_folder}/cert.pem", $"--Kestrel:Certificates:Default:KeyPath={_folder}/key.pem");
        foreach (bool own in (bool[])[false, true])
        {
            // a certificate that no trusted authority has signed is refused like none
            var ssl = new SslClientAuthenticationOptions
            {
                RemoteCertificateValidationCallback = (_, server, _, _) => server?.GetCertHashString() == certificate.GetCertHashString(),
                ClientCertificates = own ? [X509CertificateLoader.LoadPkcs12(certificate.Export(X509ContentType.Pkcs12), null)] : [],
            };
            string url = $"https://127.0.0.1:{new Uri(server.Urls[0]).Port}";
            using FednCombiner stranger = new(GrpcChannel.ForAddress(url, new GrpcChannelOptions
            {
                HttpHandler = new SocketsHttpHandler { SslOptions = ssl },
                DisposeHttpClient = true,
            }));
            StatusCode status = Assert.ThrowsAsync<RpcException>(stranger.BeginAsync)!.StatusCode;
            Assert.That(status, Is.EqualTo(StatusCode.Unavailable).Or.EqualTo(StatusCode.Internal));
        }
    }

    private void Build(params string[] args)
    {
        WebApplication app = FednHost.Build(
            ["--FedIcu:Strategy=fedavg", $"--FedIcu:Spool={_folder}/spool", "--Logging:LogLevel:Default=None", .. args]);
        app.StopAsync().GetAwaiter().GetResult();
        ((IDisposable)app).Dispose();
    }
}
