using System.Text.Json;
using Microsoft.Extensions.Configuration.Memory;

namespace FedICU.Fedn;

/// <summary>The web host: Kestrel, the function service and the health service.</summary>
internal static class FednHost
{
    /// <summary>
    /// Builds the host from the configuration: appsettings.json, the environment and the command line.
    /// </summary>
    /// <exception cref="FedIcuException">
    /// The section FedIcu is wrong, other machines can reach an endpoint without authentication, or the spool folder or
    /// the state folder is not the user's alone or cannot be written.
    /// </exception>
    public static WebApplication Build(string[] args)
    {
        if (new ConfigurationBuilder().AddCommandLine(args).Build()["FedIcu:Token"] is not null)
        {
            throw new InvalidOptionsException(
            [
                "FedIcu:Token is on the command line, which other users of the machine can read; " +
                "FedIcu:TokenFile or the environment variable FedIcu__Token was expected.",
            ]);
        }

        args = [.. args.Select(arg => arg == AccessRules.AnonymousFlag ? $"--FedIcu:{nameof(FednOptions.AllowAnonymous)}=true" : arg)];
        // the configuration is read once, so nothing needs to watch its files
        WebApplicationBuilder builder = WebApplication.CreateBuilder(["--hostBuilder:reloadConfigOnChange=false", .. args]);
        // Defaults, which all other sources override: the port that FEDn's combiner calls, and HTTP/2, which gRPC needs
        // also without TLS.
        builder.Configuration.Sources.Insert(0, new MemoryConfigurationSource
        {
            InitialData = new Dictionary<string, string?>
            {
                ["Kestrel:Endpoints:Fedn:Url"] = "http://localhost:12081",
                ["Kestrel:EndpointDefaults:Protocols"] = "Http2",
                // their lines for each request would hide the bridge's own
                ["Logging:LogLevel:Microsoft.AspNetCore"] = nameof(LogLevel.Warning),
                ["Logging:LogLevel:Grpc"] = nameof(LogLevel.Warning),
            },
        });
        // AccessRules checks Kestrel's endpoints only; URLs from other settings would be open without a check
        builder.WebHost.PreferHostingUrls(false);
        // Program reports a failed start in one line on standard error; the host would log a stack trace too
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        FednOptions options = FednOptions.Read(builder.Configuration);
        AccessRules.CheckEndpoints(builder.Configuration, options);
        builder.Services.AddSingleton(options);
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.ConfigureHttpsDefaults(options.Tls.Apply));
        var spool = new Spool(options.Spool, options.MaxSpoolBytes);
        builder.Services.AddSingleton(spool);
        builder.Services.AddSingleton<SessionStore>();
        builder.Services.AddSingleton<FednMetrics>();
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = options.MaxMessageBytes);
        builder.Services.AddGrpcHealthChecks().AddCheck<SpoolHealthCheck>("spool");
        WebApplication app;
        try
        {
            // here and not at the first aggregation, which would fail after the clients have trained
            if (options.Configured.Aggregator.KeepsState)
                CombinerState.OpenFolder(options.StateFolder);
            app = builder.Build();
            // the rounds of an earlier process are read before the first call
            app.Services.GetRequiredService<SessionStore>();
        }
        catch
        {
            spool.Dispose();
            throw;
        }

        // the container does not dispose instances that it did not create
        app.Lifetime.ApplicationStopped.Register(spool.Dispose);
        app.UseToken(options.Shared);
        app.MapGrpcService<FednService>();
        app.MapGrpcHealthChecksService();
        FednLog.Started(app.Logger, options.Strategy!, JsonSerializer.Serialize(options.Settings), spool.Folder);
        return app;
    }

    /// <summary>
    /// Describes a failed start in one line: the first lines of the messages of the exception and its inner exceptions.
    /// </summary>
    public static string Describe(Exception failure)
    {
        List<string> lines = [];
        for (Exception? e = failure; e is not null; e = e.InnerException)
            lines.Add(e.Message.Split('\n')[0].TrimEnd());
        return string.Join(' ', lines.Distinct());
    }
}
