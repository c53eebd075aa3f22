using System.Security.Cryptography;
using System.Text;
using FedICU;
using FedICU.Extensions;
using HttpRounds;
using Microsoft.Extensions.Options;
using OpenTelemetry.Metrics;
using OpenTelemetry.Trace;

// reads appsettings.json from the program's folder, whatever the current folder is
var settings = new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory };
WebApplicationBuilder builder = WebApplication.CreateBuilder(settings);
builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"));
builder.Services.AddFedIcuRounds(builder.Configuration.GetSection("Rounds"));
builder.Services.AddHealthChecks().AddFedIcu();
if (builder.Configuration.GetValue<bool>("Telemetry:Console"))
{
    builder.Services.AddOpenTelemetry()
        .WithMetrics(metrics => metrics.AddMeter(FedIcuTelemetry.MeterName).AddConsoleExporter())
        .WithTracing(tracing => tracing.AddSource(FedIcuTelemetry.ActivitySourceName).AddConsoleExporter());
}

// the rounds limit an update themselves, while they write it
builder.WebHost.ConfigureKestrel(kestrel => kestrel.Limits.MaxRequestBodySize = null);
WebApplication app = builder.Build();
FederatedRounds rounds = app.Services.GetRequiredService<FederatedRounds>();
// each client's token; a client may write under its own id only
Dictionary<string, string> tokens = app.Configuration.GetSection("Clients").Get<Dictionary<string, string>>() ?? [];

app.MapHealthChecks("/health");
app.MapGet("/", (HttpResponse response) =>
{
    response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";
    return Results.Content(StatusPage.Write(rounds.Status, rounds.Finished), "text/html; charset=utf-8");
});
app.MapGet("/status", () => rounds.Status is var status && status.IsFinished
    ? Results.Json(new { round = status.Number, finished = true, model = status.BaseDigest })
    : Results.Json(new
    {
        round = status.Number,
        finished = false,
        open = status.IsOpen,
        model = status.BaseDigest,
        arrived = status.Clients.Count,
        expected = status.ExpectedClients,
        deadline = status.Deadline,
    }));
app.MapGet("/rounds/{round:long}/model", (long round) => rounds.FindModel(round) switch
{
    null => Results.Problem($"Round {round} has no global model here.", statusCode: 404),
    var folder when Directory.Exists(folder) => SendFile(Path.Combine(folder, "adapter_model.safetensors")),
    var file => SendFile(file),
});
app.MapGet("/rounds/{round:long}/report", (long round) => SendReport(round, ".json", "application/json"));
// written by the operator, beside the JSON
app.MapGet("/rounds/{round:long}/report.html", (long round) => SendReport(round, StatusPage.Extension, "text/html; charset=utf-8"));
app.MapPut("/rounds/{round:long}/updates/{client}", ReceiveAsync);

try
{
    await app.RunAsync();
    return 0;
}
catch (Exception e) when (e is FedIcuException or OptionsValidationException)
{
    await Console.Error.WriteLineAsync(e.Message);
    return 1;
}

IResult SendReport(long round, string extension, string type) =>
    rounds.Finished.FirstOrDefault(finished => finished.Number == round) is { } finished &&
        Path.ChangeExtension(finished.ReportPath, extension) is var path && File.Exists(path)
        ? Results.File(path, type)
        : Results.Problem($"Round {round} has no such report.", statusCode: 404);

static IResult SendFile(string path) => Results.File(path, "application/octet-stream", enableRangeProcessing: true);

async Task<IResult> ReceiveAsync(long round, string client, double? examples, HttpRequest request, CancellationToken gone)
{
    if (!IsAllowed(client, request.Headers.Authorization.ToString()))
        return Results.Problem("The token is not this client's.", statusCode: 403);
    try
    {
        UpdateReceipt receipt = await rounds.AddAsync(round, client, request.Body, examples, cancellationToken: gone);
        return Results.Json(new { round, client, repeated = receipt.IsRepeated }, statusCode: receipt.IsRepeated ? 200 : 201);
    }
    catch (RoundRejectedException e)
    {
        return Results.Problem(e.ClientMessage, statusCode: GetStatusCode(e.Fault), title: e.Fault.ToString());
    }
    catch (IOException e)
    {
        int status = (e as BadHttpRequestException)?.StatusCode ?? 400;
        return Results.Problem("The upload ended too early, or came too slowly.", statusCode: status);
    }
    catch (Exception e) when (e is FedIcuException or InvalidOperationException)
    {
        // the server's fault: a full disk, or a stop. The sentence may contain paths, so it is for the log alone
        app.Logger.LogNotStored(e);
        return Results.Problem("The update could not be stored; send it again later.", statusCode: 503);
    }
}

bool IsAllowed(string client, string authorization)
{
    string expected = "Bearer " + tokens.GetValueOrDefault(client);
    return tokens.ContainsKey(client) &&
        CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(expected), Encoding.UTF8.GetBytes(authorization));
}

static int GetStatusCode(RoundFault fault) => fault switch
{
    RoundFault.Duplicate or RoundFault.Stale or RoundFault.Base => 409,
    RoundFault.Late => 410,
    RoundFault.TooLarge => 413,
    _ => 422,
};
