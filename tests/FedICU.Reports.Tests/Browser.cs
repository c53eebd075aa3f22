using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using FedICU.Tests;
using FedICU.Tests.Files;

namespace FedICU.Reports.Tests;

/// <summary>
/// A page in headless Chromium, driven by its debugging protocol: what the page writes to the console, what it
/// requests, clicks, keys, and screenshots.
/// </summary>
internal sealed class Browser : IDisposable
{
    private const string Listening = "DevTools listening on ";

    private readonly Process _process;
    private readonly TempFolder _profile;
    private readonly ClientWebSocket _socket = new();
    private readonly ConcurrentDictionary<int, TaskCompletionSource<JsonNode>> _pending = new();
    private TaskCompletionSource _loaded = new();
    private int _number;

    private Browser(Process process, TempFolder profile) => (_process, _profile) = (process, profile);

    /// <summary>Gets what a page's console got: messages, errors of scripts, of loading and of the policy.</summary>
    public ConcurrentQueue<string> Console { get; } = [];

    /// <summary>Gets the addresses that pages requested, without their own.</summary>
    public ConcurrentQueue<string> Requests { get; } = [];

    /// <summary>Starts the browser; skips the test if there is none.</summary>
    public static async Task<Browser> StartAsync(int width = 1280, int height = 900)
    {
        const string Chromium = "chromium";
        if (Tools.TryRun(Chromium, ["--version"], out _) != 0)
            Tools.Missing("chromium");
        var profile = new TempFolder();
        var start = new ProcessStartInfo(
            Chromium,
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", "--hide-scrollbars", $"--user-data-dir={profile["profile"]}",
                "--remote-debugging-port=0", $"--window-size={width},{height}", "about:blank",
            ])
        {
            RedirectStandardError = true,
        };
        var browser = new Browser(Process.Start(start)!, profile);
        string? address = null;
        while (address is null && await browser._process.StandardError.ReadLineAsync() is { } line)
            address = line.StartsWith(Listening, StringComparison.Ordinal) ? line[Listening.Length..] : null;
        // a full pipe would stop the browser
        _ = browser._process.StandardError.ReadToEndAsync();
        await browser.ConnectAsync(new Uri(address ?? throw new InvalidOperationException("Chromium did not start.")));
        await browser.SetSizeAsync(width, height);
        return browser;
    }

    public Task SetSizeAsync(int width, int height) => SendAsync("Emulation.setDeviceMetricsOverride", new JsonObject
    {
        ["width"] = width,
        ["height"] = height,
        ["deviceScaleFactor"] = 1,
        ["mobile"] = false,
    });

    /// <summary>Makes the system's theme light or dark.</summary>
    public Task SetSystemThemeAsync(string theme) => SendAsync("Emulation.setEmulatedMedia", new JsonObject
    {
        ["features"] = new JsonArray(new JsonObject { ["name"] = "prefers-color-scheme", ["value"] = theme }),
    });

    /// <summary>Opens a file and waits until it is loaded, its scripts included. Returns the time.</summary>
    public async Task<TimeSpan> OpenAsync(string path)
    {
        _loaded = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var watch = Stopwatch.StartNew();
        await SendAsync("Page.navigate", new JsonObject { ["url"] = new Uri(path).AbsoluteUri });
        await _loaded.Task;
        return watch.Elapsed;
    }

    /// <summary>Evaluates an expression in the page.</summary>
    public async Task<T> EvaluateAsync<T>(string expression)
    {
        JsonNode answer = await SendAsync("Runtime.evaluate", new JsonObject
        {
            ["expression"] = expression,
            ["returnByValue"] = true,
            ["awaitPromise"] = true,
        });
        if (answer["exceptionDetails"] is { } fault)
            throw new InvalidOperationException($"'{expression}' failed: {fault.ToJsonString()}");
        return answer["result"]!["value"]!.GetValue<T>();
    }

    /// <summary>Clicks the middle of the element that an expression returns.</summary>
    public async Task ClickAsync(string element)
    {
        JsonNode place = JsonNode.Parse(await EvaluateAsync<string>(
            $"(() => {{ const e = {element}; e.scrollIntoView({{ block: 'center' }}); const r = e.getBoundingClientRect(); " +
            "return JSON.stringify({ x: r.x + r.width / 2, y: r.y + r.height / 2 }); })()"))!;
        foreach (string type in (string[])["mouseMoved", "mousePressed", "mouseReleased"])
        {
            await SendAsync("Input.dispatchMouseEvent", new JsonObject
            {
                ["type"] = type,
                ["x"] = place["x"]!.GetValue<double>(),
                ["y"] = place["y"]!.GetValue<double>(),
                ["button"] = type == "mouseMoved" ? "none" : "left",
                ["clickCount"] = type == "mouseMoved" ? 0 : 1,
            });
        }
    }

    /// <summary>Moves the mouse to a place of the window.</summary>
    public Task MoveAsync(double x, double y) =>
        SendAsync("Input.dispatchMouseEvent", new JsonObject { ["type"] = "mouseMoved", ["x"] = x, ["y"] = y });

    /// <summary>Presses and releases a key: Tab, Enter.</summary>
    public async Task PressAsync(string key)
    {
        int code = key switch { "Tab" => 9, "Enter" => 13, _ => throw new ArgumentOutOfRangeException(nameof(key)) };
        foreach (string type in (string[])["keyDown", "keyUp"])
        {
            var press = new JsonObject { ["type"] = type, ["key"] = key, ["code"] = key, ["windowsVirtualKeyCode"] = code };
            if (key == "Enter" && type == "keyDown")
                press["text"] = "\r";
            await SendAsync("Input.dispatchKeyEvent", press);
        }
    }

    /// <summary>Returns the whole page, or the part that an expression returns, as a PNG.</summary>
    public async Task<byte[]> ScreenshotAsync(string? element = null)
    {
        JsonNode size = JsonNode.Parse(await EvaluateAsync<string>(
            $"(() => {{ const r = ({element ?? "document.documentElement"}).getBoundingClientRect(); " +
            "return JSON.stringify({ x: r.x + scrollX, y: r.y + scrollY, width: r.width, height: r.height }); })()"))!;
        size["scale"] = 1;
        JsonNode answer = await SendAsync("Page.captureScreenshot", new JsonObject
        {
            ["format"] = "png",
            ["captureBeyondViewport"] = true,
            ["clip"] = size,
        });
        return Convert.FromBase64String(answer["data"]!.GetValue<string>());
    }

    public void Dispose()
    {
        _socket.Dispose();
        _process.Kill(entireProcessTree: true);
        _process.WaitForExit();
        _process.Dispose();
        _profile.Dispose();
    }

    private async Task ConnectAsync(Uri browser)
    {
        using var http = new HttpClient();
        JsonNode pages = JsonNode.Parse(await http.GetStringAsync(new Uri($"http://{browser.Authority}/json/list")))!;
        JsonNode page = pages.AsArray().First(target => target!["type"]!.GetValue<string>() == "page")!;
        await _socket.ConnectAsync(new Uri(page["webSocketDebuggerUrl"]!.GetValue<string>()), CancellationToken.None);
        _ = Task.Run(ReceiveAsync);
        foreach (string domain in (string[])["Page", "Runtime", "Log", "Network"])
            await SendAsync($"{domain}.enable", []);
    }

    public async Task<JsonNode> SendAsync(string method, JsonObject parameters)
    {
        int number = Interlocked.Increment(ref _number);
        var answer = new TaskCompletionSource<JsonNode>(TaskCreationOptions.RunContinuationsAsynchronously);
        _pending[number] = answer;
        var message = new JsonObject { ["id"] = number, ["method"] = method, ["params"] = parameters };
        await _socket.SendAsync(
            JsonSerializer.SerializeToUtf8Bytes(message), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        return await answer.Task.WaitAsync(TimeSpan.FromMinutes(1));
    }

    private async Task ReceiveAsync()
    {
        byte[] buffer = new byte[1 << 16];
        try
        {
            while (true)
            {
                using var message = new MemoryStream();
                WebSocketReceiveResult part;
                do
                {
                    part = await _socket.ReceiveAsync(buffer, CancellationToken.None);
                    message.Write(buffer, 0, part.Count);
                }
                while (!part.EndOfMessage);
                Handle(JsonNode.Parse(message.GetBuffer().AsSpan(0, (int)message.Length))!);
            }
        }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException or JsonException)
        {
            foreach (TaskCompletionSource<JsonNode> answer in _pending.Values)
                answer.TrySetException(new InvalidOperationException("The browser has ended."));
        }
    }

    private void Handle(JsonNode message)
    {
        if (message["id"]?.GetValue<int>() is { } number && _pending.TryRemove(number, out TaskCompletionSource<JsonNode>? answer))
        {
            if (message["error"] is { } error)
                answer.SetException(new InvalidOperationException(error.ToJsonString()));
            else
                answer.SetResult(message["result"]!);
            return;
        }

        string text = message["params"]?.ToJsonString() ?? "";
        switch (message["method"]?.GetValue<string>())
        {
            case "Page.loadEventFired":
                _loaded.TrySetResult();
                break;
            case "Runtime.consoleAPICalled" or "Runtime.exceptionThrown" or "Log.entryAdded":
                Console.Enqueue(text);
                break;
            case "Network.requestWillBeSent" when message["params"]!["request"]!["url"]!.GetValue<string>() is var url &&
                message["params"]!["type"]?.GetValue<string>() != "Document" && !url.StartsWith("data:", StringComparison.Ordinal):
                Requests.Enqueue(url);
                break;
        }
    }
}
