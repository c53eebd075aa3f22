using System.Globalization;
using System.Net;
using FedICU.Fedn.Protocol;
using FedICU.Text;
using Grpc.Core;
using Microsoft.AspNetCore.Server.Kestrel.Https;

namespace FedICU.Fedn;

/// <summary>
/// Who may call: an address that other machines reach needs a token or client certificates, and every call the token where there is one.
/// </summary>
internal static class AccessRules
{
    private const string Endpoints = "Kestrel:Endpoints", CertificateMode = "ClientCertificateMode";

    /// <summary>The flag of the command line that stands for <c>--FedIcu:AllowAnonymous=true</c>.</summary>
    public const string AnonymousFlag = "--allow-anonymous";

    /// <summary>Refuses an endpoint that other machines reach and that anyone may call.</summary>
    /// <exception cref="InvalidOptionsException">There is one; the message names its address and what it lacks.</exception>
    public static void CheckEndpoints(IConfiguration configuration, FednOptions options)
    {
        if (options.Shared is not null || options.AllowAnonymous)
            return;
        foreach (IConfigurationSection endpoint in configuration.GetSection(Endpoints).GetChildren())
        {
            if (endpoint["Url"] is { } url && !IsLocal(url) && !RequiresCertificate(configuration, endpoint, url))
            {
                throw new InvalidOptionsException([
                    $"The endpoint {Sentence.Quote(endpoint.Key)} at {Sentence.Quote(url)} is open to other machines, and anyone may call it: " +
                    $"FedIcu:Token, FedIcu:TokenFile, https with {CertificateMode} RequireCertificate, or {AnonymousFlag} was expected.",
                ]);
            }
        }
    }

    /// <summary>Refuses a call of the function service without the token, before the call is read. The health service needs none.</summary>
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
            // an answer of gRPC without messages has its status in the headers
            context.Response.ContentType = "application/grpc";
            context.Response.Headers["grpc-status"] = ((int)StatusCode.Unauthenticated).ToString(CultureInfo.InvariantCulture);
            context.Response.Headers["grpc-message"] =
                "The call does not carry the token of this service: authorization: Bearer TOKEN was expected.";
            return Task.CompletedTask;
        });
    }

    /// <summary>Whether only this machine reaches an address. Kestrel takes any name but localhost for all addresses.</summary>
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
            // Kestrel refuses it with a sentence of its own
            return true;
        }
    }

    private static bool RequiresCertificate(IConfiguration configuration, IConfigurationSection endpoint, string url)
    {
        string? mode = endpoint[CertificateMode] ?? configuration[$"Kestrel:EndpointDefaults:{CertificateMode}"];
        // a name of its own may have a mode of its own
        return url.StartsWith("https://", StringComparison.OrdinalIgnoreCase) && IsRequired(mode) &&
            endpoint.GetSection("Sni").GetChildren().All(name => IsRequired(name[CertificateMode] ?? mode));
    }

    private static bool IsRequired(string? mode) =>
        Enum.TryParse(mode, ignoreCase: true, out ClientCertificateMode parsed) && parsed == ClientCertificateMode.RequireCertificate;
}
