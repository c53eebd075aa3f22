using System.Text.Json;

namespace FedICU.Fedn;

/// <summary>The web host: Kestrel, the function service, the health service.</summary>
internal static class FednHost
{
    /// <summary>Makes the host of the configuration: appsettings.json, the environment, the command line.</summary>
    /// <exception cref="FedIcuException">
    /// The section FedIcu is wrong, an endpoint is open to anyone on other machines, or the spool folder cannot be written.
    /// </exception>
    public static WebApplication Build(string[] args)
    {
        if (new ConfigurationBuilder().AddCommandLine(args).Build()["FedIcu:Token"] is not null)
        {
            throw new InvalidOptionsException(
            [
                "FedIcu:Token stands on the command line, which other users of the machine can read; " +
                "FedIcu:TokenFile or the environment's FedIcu__Token was expected.",
            ]);
        }

        args = [.. args.Select(arg => arg == AccessRules.AnonymousFlag ? $"--FedIcu:{nameof(FednOptions.AllowAnonymous)}=true" : arg)];
        // the configuration is read once: nothing needs to watch its files
        WebApplicationBuilder builder = WebApplication.CreateBuilder(["--hostBuilder:reloadConfigOnChange=false", .. args]);
        // behind all other sources: the port at which FEDn's combiner looks, and gRPC's protocol also without TLS
        builder.Configuration.Sources.Insert(0, new Microsoft.Extensions.Configuration.Memory.MemoryConfigurationSource
        {
            InitialData = new Dictionary<string, string?>
            {
                ["Kestrel:Endpoints:Fedn:Url"] = "http://localhost:12081",
                ["Kestrel:EndpointDefaults:Protocols"] = "Http2",
            },
        });
        // other settings than the endpoints would open addresses that are not checked
        builder.WebHost.PreferHostingUrls(false);
        // a failure to start is one line on the standard error, not a stack trace in the log
        builder.Logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        FednOptions options = FednOptions.Read(builder.Configuration);
        AccessRules.CheckEndpoints(builder.Configuration, options);
        builder.Services.AddSingleton(options);
        builder.Services.AddSingleton(new SessionStore(options));
        builder.Services.AddSingleton<FednMetrics>();
        builder.Services.AddGrpc(grpc => grpc.MaxReceiveMessageSize = options.MaxMessageBytes);
        builder.Services.AddGrpcHealthChecks().AddCheck<SpoolHealthCheck>("spool");
        WebApplication app = builder.Build();
        // the container disposes only what it made; the spool goes when the host is gone
        SessionStore store = app.Services.GetRequiredService<SessionStore>();
        app.Lifetime.ApplicationStopped.Register(store.Dispose);
        app.UseToken(options.Shared);
        app.MapGrpcService<FednService>();
        app.MapGrpcHealthChecksService();
        FednLog.Started(app.Logger, options.Strategy!, JsonSerializer.Serialize(options.Settings), store.Folder);
        return app;
    }

    /// <summary>A failure to start in one line: the first lines of the exception's message and of those that led to it.</summary>
    public static string Describe(Exception failure)
    {
        List<string> lines = [];
        for (Exception? e = failure; e is not null; e = e.InnerException)
            lines.Add(e.Message.Split('\n')[0].TrimEnd());
        return string.Join(' ', lines.Distinct());
    }
}
