using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using Grpc.Core;
using Grpc.Net.Client;

namespace FedICU.Fedn.Tests;

/// <summary>What the host reads of its configuration, and what it refuses at its start.</summary>
internal sealed class HostTests
{
    [TestCase("The strategy 'fedavgg' is unknown; fedavg, fedprox, fedicu are known.", "Strategy=fedavgg")]
    [TestCase("FedIcu:Strategy is missing; fedavg, fedprox, fedicu are known.", "Threads=1")]
    [TestCase("Option 'tau' is 'warm'; a number was expected.", "Strategy=fedicu", "Settings:tau=warm")]
    [TestCase("FedIcu:MaxClients is 0; at least 1 was expected.", "Strategy=fedavg", "MaxClients=0")]
    [TestCase("FedIcu:StoreTimeout is 00:00:00; more than 0 and at most 24 days was expected.", "Strategy=fedavg", "StoreTimeout=0")]
    [TestCase("FedIcu:Spool is 'a\ufffd'; a path in UTF-8 was expected.", "Strategy=fedavg", "Spool=a\ufffd")]
    [TestCase("FedIcu:TokenFile is '\ufffd'; a path in UTF-8 was expected.", "Strategy=fedavg", "TokenFile=\ufffd")]
    public void AWrongConfigurationEndsTheProcessWithItsSentence(string sentence, params string[] options)
    {
        string[] args = [.. options.Select(option => $"--FedIcu:{option}")];
        Assert.That(() => FednHost.Build(args), Throws.InstanceOf<FedIcuException>().With.Message.EqualTo(sentence));
        Assert.That(RunProgram(args), Is.EqualTo((1, sentence)));
    }

    [TestCase("The host cannot start: Invalid url: 'nonsense'", "--Kestrel:Endpoints:Fedn:Url=nonsense")]
    [TestCase("The host cannot start: The endpoint Other is missing the required 'Url' parameter.", "--Kestrel:Endpoints:Other:Protocols=Http2")]
    [TestCase("The host cannot start: Configuration value 'Loud' is not supported.", "--Logging:LogLevel:Default=Loud")]
    public void AHostThatCannotStartSaysWhyInOneLine(string line, string setting)
    {
        string spool = Directory.CreateTempSubdirectory("fedicu-fedn-tests-").FullName;
        Assert.That(RunProgram(["--FedIcu:Strategy=fedavg", $"--FedIcu:Spool={spool}", "--Kestrel:Endpoints:Fedn:Url=http://127.0.0.1:0", setting]), Is.EqualTo((1, line)));
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
        Assert.That(() => FednHost.Build(["--FedIcu:Strategy=fedavg", "--FedIcu:Stratgy=fedicu"]), Throws.TypeOf<InvalidOptionsException>().With.Message.Contain("Stratgy"));
        Assert.That(() => FednHost.Build(["--FedIcu:Strategy=fedavg", "--FedIcu:Settings:tau=1"]), Throws.TypeOf<InvalidOptionsException>().With.Message.Contain("Option 'tau' is unknown"));
    }

    [Test]
    public async Task WhatAnEndedProcessLeftIsRemovedAndWhatARunningOneUsesIsNot()
    {
        await using FednServer running = await FednServer.StartAsync("fedavg");
        string abandoned = Path.Combine(running.Spool, "process-0123456789abcdef"), own = Directory.GetDirectories(running.Spool).Single();
        Directory.CreateDirectory(abandoned);
        await File.WriteAllTextAsync(Path.Combine(abandoned, "lock"), "");
        using (new SessionStore(new FednOptions { Spool = running.Spool }))
        {
            Assert.That(Directory.GetDirectories(running.Spool), Has.Length.EqualTo(2).And.Contains(own));
            Assert.That(Directory.Exists(abandoned), Is.False);
        }

        Assert.That(Directory.GetDirectories(running.Spool), Is.EqualTo(new[] { own }));
    }

    [Test]
    public async Task TlsAndClientCertificatesAreKestrels()
    {
        string folder = Directory.CreateTempSubdirectory("fedicu-tls-").FullName;
        try
        {
            using var key = RSA.Create(2048);
            using X509Certificate2 certificate = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1).CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
            await File.WriteAllTextAsync(Path.Combine(folder, "cert.pem"), certificate.ExportCertificatePem());
            await File.WriteAllTextAsync(Path.Combine(folder, "key.pem"), key.ExportPkcs8PrivateKeyPem());
            string[] tls = ["--Kestrel:Endpoints:Fedn:Url=https://127.0.0.1:0", $"--Kestrel:Certificates:Default:Path={folder}/cert.pem", $"--Kestrel:Certificates:Default:KeyPath={folder}/key.pem"];
            await using FednServer open = await FednServer.StartAsync("fedavg", tls), closed = await FednServer.StartAsync("fedavg", [.. tls, "--Kestrel:Endpoints:Fedn:ClientCertificateMode=RequireCertificate"]);
            using FednCombiner welcome = Over(open, certificate), stranger = Over(closed, certificate);
            Assert.That(await welcome.StoreAsync("global_model", Archives.Of(Archives.Model(1))), Is.EqualTo("Received model originating from global_model"));
            Assert.That(Assert.ThrowsAsync<RpcException>(stranger.BeginAsync)!.StatusCode, Is.EqualTo(StatusCode.Unavailable).Or.EqualTo(StatusCode.Internal), "no certificate, no call");
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static FednCombiner Over(FednServer server, X509Certificate2 trusted) => new(GrpcChannel.ForAddress(server.Urls[0], new GrpcChannelOptions
    {
        HttpHandler = new SocketsHttpHandler
        {
            SslOptions = new SslClientAuthenticationOptions { RemoteCertificateValidationCallback = (_, certificate, _, _) => certificate?.GetCertHashString() == trusted.GetCertHashString() },
        },
        DisposeHttpClient = true,
    }));
}
