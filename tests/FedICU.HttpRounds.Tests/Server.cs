using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Http.Headers;

namespace FedICU.HttpRounds.Tests;

/// <summary>The sample as a process on a free port, and requests to it.</summary>
internal sealed class Server : IDisposable
{
    private const string Listening = "Now listening on: ";

    private readonly Process _process;
    private readonly HttpClient _http;

    private Server(Process process, Uri address)
    {
        (_process, Address) = (process, address);
        _ = Task.Run(async () =>
        {
            while (await process.StandardOutput.ReadLineAsync() is { } line)
                Output.Enqueue(line);
        });
        _http = new HttpClient { BaseAddress = address };
    }

    public Uri Address { get; }

    /// <summary>What the server has written to the console since it listens.</summary>
    public ConcurrentQueue<string> Output { get; } = [];

    /// <summary>Starts the sample in a folder; each client's token is its id.</summary>
    public static Server Start(string folder, IEnumerable<string> clients, params string[] arguments)
    {
        // the artifacts of the sample, built with the same configuration as these tests
        string configuration = Path.GetFileName(Path.TrimEndingDirectorySeparator(AppContext.BaseDirectory));
        string sample = Path.GetFullPath(Path.Combine(AppContext.BaseDirectory, "..", "..", "HttpRounds", configuration, "HttpRounds.dll"));
        IEnumerable<string> tokens = clients.Select(client => $"--Clients:{client}={client}");
        var start = new ProcessStartInfo(
            Environment.ProcessPath!.EndsWith("dotnet", StringComparison.Ordinal) ? Environment.ProcessPath : "dotnet",
            [sample, "--urls", "http://127.0.0.1:0", .. tokens, .. arguments])
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        var process = Process.Start(start)!;
        process.ErrorDataReceived += (_, _) => { };
        process.BeginErrorReadLine();
        while (process.StandardOutput.ReadLine() is { } line)
        {
            if (!line.Contains(Listening, StringComparison.Ordinal))
                continue;
            return new Server(process, new Uri(line[(line.IndexOf(Listening, StringComparison.Ordinal) + Listening.Length)..]));
        }

        throw new InvalidOperationException("The sample did not start.");
    }

    /// <summary>Sends a client's update; the token is the client's own unless another one's is given.</summary>
    public async Task<(int Status, string Body)> SendAsync(
        long round, string client, HttpContent content, string query = "", string? token = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Put, $"rounds/{round}/updates/{client}{query}") { Content = content };
        request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token ?? client);
        // a refusal may come before the body is sent
        request.Headers.ExpectContinue = true;
        using HttpResponseMessage answer = await _http.SendAsync(request);
        return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    public Task<(int Status, string Body)> SendAsync(long round, string client, byte[] body, string query = "", string? token = null) =>
        SendAsync(round, client, new ByteArrayContent(body), query, token);

    public async Task<(int Status, byte[] Body)> GetAsync(string path)
    {
        using HttpResponseMessage answer = await _http.GetAsync(new Uri(path, UriKind.Relative));
        return ((int)answer.StatusCode, await answer.Content.ReadAsByteArrayAsync());
    }

    /// <summary>Downloads a round's global model once the round has begun.</summary>
    public async Task<byte[]> DownloadAsync(long round)
    {
        while (true)
        {
            (int status, byte[] body) = await GetAsync($"rounds/{round}/model");
            if (status == 200)
                return body;
            Assert.That(status, Is.EqualTo(404));
            await Task.Delay(5);
        }
    }

    /// <summary>Kills the process, as a crash would.</summary>
    public void Dispose()
    {
        _http.Dispose();
        _process.Kill();
        _process.WaitForExit();
        _process.Dispose();
    }
}
