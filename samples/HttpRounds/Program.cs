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
        .WithMetrics(metrics => metrics.AddMeter(FedIcuTelemetry.MeterName, FederatedRoundsTelemetry.MeterName).AddConsoleExporter())
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
    return Answer(response, () => Results.Content(StatusPage.Write(rounds.Status, rounds.Finished), "text/html; charset=utf-8"));
});
app.MapGet("/status", (HttpResponse response) => Answer(response, () => rounds.Status is var status && status.IsFinished
    ? Results.Json(new { round = status.Number, finished = true, model = status.BaseDigest })
    : Results.Json(new
    {
        round = status.Number,
        attempt = status.Attempt,
        finished = false,
        open = status.IsOpen,
        model = status.BaseDigest,
        arrived = status.Clients.Count,
        expected = status.ExpectedClients,
        deadline = status.Deadline,
    })));
app.MapGet("/rounds/{round:long}/model", (long round, HttpResponse response) =>
    Answer(response, () => SendFile(FindWeights(round), "application/octet-stream")));
app.MapGet("/rounds/{round:long}/report", (long round, HttpResponse response) =>
    Answer(response, () => SendFile(rounds.FindReport(round), "application/json")));
app.MapGet("/rounds/{round:long}/report.html", (long round, HttpResponse response) => Answer(response, () => DrawReport(round)));
app.MapPut("/rounds/{round:long}/updates/{client}", ReceiveAsync);

try
{
    await app.RunAsync();
    return 0;
}
catch (Exception e) when (e is FedIcuException or OptionsValidationException or IOException)
{
    await Console.Error.WriteLineAsync(e.Message);
    return 1;
}

// a GET after the rounds have stopped, while the server still listens, or for a file that the rounds have just removed
static IResult Answer(HttpResponse response, Func<IResult> answer)
{
    try
    {
        return answer();
    }
    catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
    {
        return Results.Problem("The round has no such file here.", statusCode: 404);
    }
    catch (FedIcuException)
    {
        return Results.Problem("The report of the round is damaged.", statusCode: 500);
    }
    catch (InvalidOperationException)
    {
        return AskAgain(response, "The rounds are not running.");
    }
}

string? FindWeights(long round) => rounds.FindModel(round) switch
{
    { } folder when Directory.Exists(folder) => Path.Combine(folder, "adapter_model.safetensors"),
    var file => file,
};

// opened before the answer begins, so that it is sent whole even if the rounds remove the file meanwhile
static IResult SendFile(string? path, string type) => path is null
    ? throw new FileNotFoundException()
    : Results.File(
        new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete), type, enableRangeProcessing: true);

// the page has a policy of its own, which allows its scripts and nothing else
IResult DrawReport(long round)
{
    var page = new MemoryStream();
    ReportPage.Write([RoundReport.FromJson(File.ReadAllText(rounds.FindReport(round) ?? throw new FileNotFoundException()))], page);
    page.Position = 0;
    return Results.Stream(page, "text/html; charset=utf-8");
}

static IResult AskAgain(HttpResponse response, string detail, string? title = null)
{
    response.Headers.RetryAfter = "2";
    return Results.Problem(detail, statusCode: 503, title: title);
}

async Task<IResult> ReceiveAsync(
    long round, string client, double? examples, HttpRequest request, HttpResponse response, CancellationToken gone)
{
    if (!IsAllowed(client, request.Headers.Authorization.ToString()))
        return Results.Problem("The token is not this client's.", statusCode: 403);
    try
    {
        UpdateReceipt receipt = await rounds.AddAsync(round, client, request.Body, examples, cancellationToken: gone);
        return Results.Json(new { round, client, repeated = receipt.IsRepeated }, statusCode: receipt.IsRepeated ? 200 : 201);
    }
    catch (RoundRejectedException e) when (e.Fault == RoundFault.NotOpen)
    {
        return AskAgain(response, e.ClientMessage, e.Fault.ToString());
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
        return AskAgain(response, "The update could not be stored; send it again later.");
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
