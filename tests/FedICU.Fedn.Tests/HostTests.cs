using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;
using Microsoft.AspNetCore.Builder;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace FedICU.Fedn.Tests;

/// <summary>Tests how the host reads its configuration, and what it refuses at the start.</summary>
internal sealed class HostTests
{
    [TestCase("The strategy 'fedavgg' is unknown; did you mean 'fedavg'? NAMES are known.", "Strategy=fedavgg")]
    [TestCase("FedIcu:Strategy is missing; NAMES are known.", "Threads=1")]
    [TestCase("Option 'tau' is 'warm'; a number was expected.", "Strategy=fedicu", "Settings:tau=warm")]
    [TestCase("FedIcu:MaxClients is 0; at least 1 was expected.", "Strategy=fedavg", "MaxClients=0")]
    [TestCase("FedIcu:StoreTimeout is 00:00:00; more than 0 and at most 24 days was expected.", "Strategy=fedavg", "StoreTimeout=0")]
    [TestCase("FedIcu:Spool is 'a\ufffd'; a path in UTF-8 was expected.", "Strategy=fedavg", "Spool=a\ufffd")]
    [TestCase("FedIcu:TokenFile is '\ufffd'; a path in UTF-8 was expected.", "Strategy=fedavg", "TokenFile=\ufffd")]
    public void AWrongConfigurationEndsTheProcessWithAMessage(string message, params string[] options)
    {
        string[] args = [.. options.Select(option => $"--FedIcu:{option}")];
        message = message.Replace("NAMES", string.Join(", ", StrategyRegistry.Default.Names), StringComparison.Ordinal);
        Assert.That(() => FednHost.Build(args), Throws.InstanceOf<FedIcuException>().With.Message.EqualTo(message));
        Assert.That(RunProgram(args), Is.EqualTo((1, message)));
    }

    [TestCase("The host cannot start: Invalid url: 'nonsense'", "--Kestrel:Endpoints:Fedn:Url=nonsense")]
    [TestCase(
        "The host cannot start: The endpoint Other is missing the required 'Url' parameter.", "--Kestrel:Endpoints:Other:Protocols=Http2")]
    [TestCase("The host cannot start: Configuration value 'Loud' is not supported.", "--Logging:LogLevel:Default=Loud")]
    public void AHostThatCannotStartSaysWhyInOneLine(string line, string setting)
    {
        string spool = Directory.CreateTempSubdirectory("fedicu-fedn-tests-").FullName;
        string[] args =
            ["--FedIcu:Strategy=fedavg", $"--FedIcu:Spool={spool}", "--Kestrel:Endpoints:Fedn:Url=http://127.0.0.1:0", setting];
        Assert.That(RunProgram(args), Is.EqualTo((1, line)));
        Directory.Delete(spool, recursive: true);
    }

    private static (int Code, string Error) RunProgram(string[] args)
    {
        TextWriter error = Console.Error;
        using var written = new StringWriter();
        Console.SetError(written);
        try
        {
            return ((int)typeof(FednHost).Assembly.EntryPoint!.Invoke(null, [args])!, written.ToString().TrimEnd());
        }
        finally
        {
            Console.SetError(error);
        }
    }

    [Test]
    public void UnknownNamesAreRefused()
    {
        Expect("Stratgy", "--FedIcu:Stratgy=fedicu");
        Expect("Option 'tau' is unknown", "--FedIcu:Settings:tau=1");

        static void Expect(string message, string setting) => Assert.That(
            () => FednHost.Build(["--FedIcu:Strategy=fedavg", setting]),
            Throws.TypeOf<InvalidOptionsException>().With.Message.Contain(message));
    }

    [Test]
    public async Task TheWebServersLinesForEachRequestAreOffUnlessConfigured([Values] bool configured)
    {
        string spool = Directory.CreateTempSubdirectory("fedicu-fedn-tests-").FullName;
        string[] more = configured ? ["--Logging:LogLevel:Microsoft.AspNetCore=Information"] : [];
        await using (WebApplication app = FednHost.Build(["--FedIcu:Strategy=fedavg", $"--FedIcu:Spool={spool}", .. more]))
        {
            ILoggerFactory loggers = app.Services.GetRequiredService<ILoggerFactory>();
            ILogger web = loggers.CreateLogger("Microsoft.AspNetCore.Hosting.Diagnostics");
            Assert.That(web.IsEnabled(LogLevel.Information), Is.EqualTo(configured));
            Assert.That(web.IsEnabled(LogLevel.Warning));
            Assert.That(loggers.CreateLogger<FednService>().IsEnabled(LogLevel.Information));
            await app.StopAsync();
        }

        Directory.Delete(spool, recursive: true);
    }

    [Test]
    public async Task KestrelsTlsAndClientCertificatesWork()
    {
        string folder = Directory.CreateTempSubdirectory("fedicu-tls-").FullName;
        try
        {
            using var key = RSA.Create(2048);
            using X509Certificate2 certificate =
                new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1)
                    .CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
            await File.WriteAllTextAsync(Path.Combine(folder, "cert.pem"), certificate.ExportCertificatePem());
            await File.WriteAllTextAsync(Path.Combine(folder, "key.pem"), key.ExportPkcs8PrivateKeyPem());
            string[] tls =
            [
                "--Kestrel:Endpoints:Fedn:Url=https://127.0.0.1:0", $"--Kestrel:Certificates:Default:Path={folder}/cert.pem",
                $"--Kestrel:Certificates:Default:KeyPath={folder}/key.pem",
            ];
            const string RequireCertificate = "--Kestrel:Endpoints:Fedn:ClientCertificateMode=RequireCertificate";
            await using FednServer open = await FednServer.StartAsync("fedavg", tls);
            await using FednServer closed = await FednServer.StartAsync("fedavg", [.. tls, RequireCertificate]);
            using FednCombiner welcome = Connect(open, certificate), stranger = Connect(closed, certificate);
            string answer = await welcome.StoreAsync("global_model", Archives.Of(Archives.Model(1)));
            Assert.That(answer, Is.EqualTo("Received model originating from global_model"));
            StatusCode status = Assert.ThrowsAsync<RpcException>(stranger.BeginAsync)!.StatusCode;
            Assert.That(status, Is.EqualTo(StatusCode.Unavailable).Or.EqualTo(StatusCode.Internal), "it has no client certificate");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static FednCombiner Connect(FednServer server, X509Certificate2 trusted)
    {
        var ssl = new SslClientAuthenticationOptions
        {
            RemoteCertificateValidationCallback =
                (_, certificate, _, _) => certificate?.GetCertHashString() == trusted.GetCertHashString(),
        };
        var options = new GrpcChannelOptions { HttpHandler = new SocketsHttpHandler { SslOptions = ssl }, DisposeHttpClient = true };
        return new FednCombiner(GrpcChannel.ForAddress(server.Urls[0], options));
    }
}
