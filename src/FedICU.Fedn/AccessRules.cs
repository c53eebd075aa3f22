using System.Globalization;
using System.Net;
using FedICU.Fedn.Protocol;
using FedICU.Text;
using Grpc.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace FedICU.Fedn;

/// <summary>
/// Decides who may call the service. An endpoint that other machines can reach needs a token or client certificates. If
/// a token is set, every call must carry it.
/// </summary>
internal static class AccessRules
{
    private const string Endpoints = "Kestrel:Endpoints";
    private const string CertificateMode = "ClientCertificateMode";

    /// <summary>The command-line flag that stands for <c>--FedIcu:AllowAnonymous=true</c>.</summary>
    public const string AnonymousFlag = "--allow-anonymous";

    /// <summary>
    /// Refuses endpoints that other machines can reach without a token or a client certificate, and endpoints that ask
    /// for no client certificate although an authority for them is configured.
    /// </summary>
    /// <exception cref="InvalidOptionsException">
    /// There is such an endpoint; the message names its address and what is missing.
    /// </exception>
    public static void CheckEndpoints(IConfiguration configuration, FednOptions options)
    {
        bool checksClients = options.Tls.ChecksClients;
        foreach (IConfigurationSection endpoint in configuration.GetSection(Endpoints).GetChildren())
        {
            if (endpoint["Url"] is not { } url)
                continue;
            bool requiresCertificate = RequiresCertificate(configuration, endpoint, url, byDefault: checksClients);
            if (checksClients && !requiresCertificate)
            {
                throw new InvalidOptionsException([
                    $"The endpoint {Sentence.Quote(endpoint.Key)} at {Sentence.Quote(url)} does not ask for client certificates, " +
                    $"but FedIcu:ClientAuthority is set; https without another {CertificateMode} than RequireCertificate was expected.",
                ]);
            }

            if (options.Shared is null && !options.AllowAnonymous && !IsLocal(url) && !requiresCertificate)
            {
                throw new InvalidOptionsException([
                    $"The endpoint {Sentence.Quote(endpoint.Key)} at {Sentence.Quote(url)} is open to other machines, " +
                    "and anyone may call it: " +
                    "FedIcu:Token, FedIcu:TokenFile, https with FedIcu:ClientAuthority, " +
                    $"https with {CertificateMode} RequireCertificate, or {AnonymousFlag} was expected.",
                ]);
            }
        }
    }

    /// <summary>
    /// Refuses calls to the function service that lack the token, before their messages are read. The health service
    /// needs no token.
    /// </summary>
    public static void UseToken(this WebApplication app, SharedToken? token)
    {
        if (token is null)
            return;
        string service = $"/{FunctionService.Descriptor.FullName}";
        app.Use((context, next) =>
        {
            if (!context.Request.Path.StartsWithSegments(service, StringComparison.OrdinalIgnoreCase) ||
                context.Request.Headers.Authorization is [var authorization] && token.Accepts(authorization))
            {
                return next(context);
            }

            FednLog.Unauthenticated(app.Logger, context.Request.Path.Value ?? "", context.Connection.RemoteIpAddress);
            // a gRPC response without messages carries its status in the headers
            context.Response.ContentType = "application/grpc";
            context.Response.Headers["grpc-status"] = ((int)StatusCode.Unauthenticated).ToString(CultureInfo.InvariantCulture);
            context.Response.Headers["grpc-message"] =
                "The call does not carry the token of this service: authorization: Bearer TOKEN was expected.";
            return Task.CompletedTask;
        });
    }

    /// <summary>
    /// Returns whether only this machine can reach an address. Kestrel listens on all addresses for every host name but
    /// localhost.
    /// </summary>
    private static bool IsLocal(string url)
    {
        try
        {
            var address = BindingAddress.Parse(url);
            return address.IsUnixPipe || address.IsNamedPipe || address.Host.Equals("localhost", StringComparison.OrdinalIgnoreCase) ||
                IPAddress.TryParse(address.Host, out IPAddress? ip) && IPAddress.IsLoopback(ip);
        }
        catch (FormatException)
        {
            // Kestrel refuses the address with its own message
            return true;
        }
    }

    private static bool RequiresCertificate(IConfiguration configuration, IConfigurationSection endpoint, string url, bool byDefault)
    {
        string? mode = endpoint[CertificateMode] ?? configuration[$"Kestrel:EndpointDefaults:{CertificateMode}"] ??
            (byDefault ? nameof(ClientCertificateMode.RequireCertificate) : null);
        // each server name (SNI) may set its own mode
        return url.StartsWith("https://", StringComparison.OrdinalIgnoreCase) && IsRequired(mode) &&
            endpoint.GetSection("Sni").GetChildren().All(name => IsRequired(name[CertificateMode] ?? mode));
    }

    private static bool IsRequired(string? mode) =>
        Enum.TryParse(mode, ignoreCase: true, out ClientCertificateMode parsed) && parsed == ClientCertificateMode.RequireCertificate;
}
