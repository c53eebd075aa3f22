using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using FedICU.Files;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace FedICU.Fedn;

/// <summary>
/// The service's certificate, and the authority that must have signed the clients' certificates. No authority of the
/// machine's store is trusted then.
/// </summary>
internal sealed class TlsFiles
{
    // the extended key usage of a client's certificate (RFC 5280, 4.2.1.12)
    private const string ClientAuthentication = "1.3.6.1.5.5.7.3.2";

    private readonly X509Certificate2? _server;
    private readonly X509Certificate2Collection? _chain;
    private readonly X509ChainPolicy? _clients;

    private TlsFiles(X509Certificate2Collection? server, X509Certificate2Collection? authorities)
    {
        if (server is not null)
            (_server, _chain) = (server[0], [.. server.Skip(1)]);
        if (authorities is null)
            return;
        _clients = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            // no call to another machine decides about a handshake
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        _clients.CustomTrustStore.AddRange(authorities);
        _clients.ApplicationPolicy.Add(new Oid(ClientAuthentication));
    }

    /// <summary>Whether clients need a certificate of the configured authority.</summary>
    public bool ChecksClients => _clients is not null;

    /// <summary>Reads the files that the options name.</summary>
    /// <exception cref="FedIcuException">
    /// A file cannot be read or holds no certificate; an option is missing.
    /// </exception>
    public static TlsFiles Read(FednOptions options)
    {
        if (options.Certificate is null && options.CertificateKey is not null)
            throw new InvalidOptionsException(["FedIcu:CertificateKey is set without FedIcu:Certificate."]);
        X509Certificate2Collection? server = options.Certificate is { } path
            ? ReadFile(nameof(options.Certificate), path, () => ReadServer(path, options.CertificateKey)) : null;
        X509Certificate2Collection? authorities = options.ClientAuthority is { } authority
            ? ReadFile(nameof(options.ClientAuthority), authority, () => ReadAuthorities(authority)) : null;
        return new TlsFiles(server, authorities);
    }

    /// <summary>Sets what the https endpoints do, unless their own configuration says otherwise.</summary>
    public void Apply(HttpsConnectionAdapterOptions https)
    {
        if (_server is not null)
            (https.ServerCertificate, https.ServerCertificateChain) = (_server, _chain);
        if (_clients is null)
            return;
        https.ClientCertificateMode = ClientCertificateMode.RequireCertificate;
        // the chain of every handshake is built by this policy, so Kestrel's own check refuses all others
        https.OnAuthenticate = (_, handshake) => handshake.CertificateChainPolicy = _clients;
    }

    /// <summary>Reads the service's certificate with its key, then the certificates that signed it.</summary>
    private static X509Certificate2Collection ReadServer(string path, string? keyPath)
    {
        var chain = new X509Certificate2Collection();
        using var pem = X509Certificate2.CreateFromPemFile(path, keyPath);
        chain.ImportFromPemFile(path);
        chain[0].Dispose();
        // Windows' TLS cannot use a key that exists in memory only
        chain[0] = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
        return chain;
    }

    private static X509Certificate2Collection ReadAuthorities(string path)
    {
        var authorities = new X509Certificate2Collection();
        authorities.ImportFromPemFile(path);
        return authorities.Count > 0 ? authorities : throw new CryptographicException("it holds no certificate");
    }

    private static T ReadFile<T>(string name, string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException($"FedIcu:{name} '{path}' cannot be read: {FileFailure.Describe(e)}.", e);
        }
        catch (Exception e) when (e is CryptographicException or ArgumentException)
        {
            throw new FedIcuException(
                $"FedIcu:{name} '{path}' cannot be used: {e.Message.Split('\n')[0].TrimEnd('.', '\r')}; PEM was expected.", e);
        }
    }
}
