using System.Net.Sockets;
using System.Text;
using System.Text.Json;
using FedICU.Tests;
using FedICU.Tests.Files;

namespace FedICU.HttpRounds.Tests;

/// <summary>The sample over real HTTP: many clients, a crash in mid-round, hostile clients, the page.</summary>
[CancelAfter(180_000)]
internal sealed class HttpRoundsTests
{
    private const int ClientCount = 24;

    private static readonly string[] Clients = [.. Enumerable.Range(0, ClientCount).Select(i => $"clinic-{i:00}")];

    private TempFolder _folder = null!;

    private string Session => _folder["rounds/1/session"];

    [SetUp]
    public void Prepare()
    {
        _folder = new TempFolder();
        File.WriteAllBytes(_folder["global.safetensors"], Write(Model(0)));
    }

    [TearDown]
    public void Remove() => _folder.Dispose();

    private Server Start(int expected, params string[] arguments) => Server.Start(
        _folder.FullName, Clients,
        [
            "--Rounds:ExpectedClients", $"{expected}", "--Rounds:MinimumClients", $"{expected}", "--Rounds:RequireWeights", "false",
            .. arguments,
        ]);

    private static MemoryModel Model(int seed)
    {
        var random = new Random(seed);
        return new MemoryModel { { "layer.weight", [60, 50], Values(3000) }, { "layer.bias", [60], Values(60) } };

        float[] Values(int count) => [.. Enumerable.Range(0, count).Select(_ => random.NextSingle() - .5f)];
    }

    private byte[] Write(TensorSource model)
    {
        string path = _folder[$"{Guid.NewGuid():n}.safetensors"];
        model.SaveTo(TensorSink.ToFile(path));
        byte[] bytes = File.ReadAllBytes(path);
        File.Delete(path);
        return bytes;
    }

    private byte[] BitsOf(byte[] file)
    {
        string path = _folder["downloaded.safetensors"];
        File.WriteAllBytes(path, file);
        using TensorSource model = TensorSource.Open(path);
        return BitsOf(model);
    }

    private static byte[] BitsOf(TensorSource model) => [.. model.Tensors.SelectMany(tensor =>
    {
        byte[] bytes = new byte[tensor.ByteLength];
        model.Read(tensor, 0, bytes);
        return bytes;
    })];

    private static int Seed(long round, int client) => (int)(1000 * round) + client;

    private byte[] UpdateOf(long round, int client) => Write(Model(Seed(round, client)));

    /// <summary>
    /// Two rounds of many clients at once. The server is killed in the middle of the first one, and hostile clients
    /// send all the time; the global models have the bits of rounds in this process.
    /// </summary>
    [Test]
    public async Task ManyClientsACrashAndHostileClientsGiveTheBitsOfRoundsInProcess()
    {
        MemoryModel global = Model(0);
        using var first = new MemorySink();
        using var second = new MemorySink();
        foreach ((int number, MemorySink sink) in (IEnumerable<(int, MemorySink)>)[(1, first), (2, second)])
        {
            var round = new AggregationRound(global);
            for (int client = 0; client < ClientCount; client++)
                round.Add(ClientUpdate.FromTensors(Clients[client], Model(Seed(number, client)), client + 1));
            await new FedAvgAggregator().AggregateAsync(round, sink);
            global = sink.Model;
        }

        int half = ClientCount / 2;
        using (Server server = Start(ClientCount))
        {
            await Task.WhenAll(
                Task.WhenAll(Enumerable.Range(0, half).Select(client => SendAsync(server, 1, client, 201))),
                AttackAsync(server));
        }

        using (Server server = Start(ClientCount))
        {
            // those that came before the crash send again, as they cannot know
            await Task.WhenAll(Enumerable.Range(0, half).Select(client => SendAsync(server, 1, client, 200)));
            await Task.WhenAll(
                Task.WhenAll(Enumerable.Range(half, ClientCount - half).Select(client => SendAsync(server, 1, client, 201))),
                AttackAsync(server));
            Assert.That(BitsOf(await server.DownloadAsync(2)), Is.EqualTo(BitsOf(first.Model)));
            await Task.WhenAll(Enumerable.Range(0, ClientCount).Select(client => SendAsync(server, 2, client, 201)));
            Assert.That(BitsOf(await server.DownloadAsync(3)), Is.EqualTo(BitsOf(second.Model)));

            (int status, byte[] json) = await server.GetAsync("rounds/2/report");
            RoundReport report = RoundReport.FromJson(Encoding.UTF8.GetString(json));
            Assert.That((status, report.Round, report.Clients.Count(client => client.Included)), Is.EqualTo((200, 2L, ClientCount)));
            Assert.That((await server.SendAsync(1, Clients[0], UpdateOf(1, 0))).Status, Is.EqualTo(410), "the round is over");
        }

        async Task SendAsync(Server server, long round, int client, int expected)
        {
            (int status, string body) = await server.SendAsync(round, Clients[client], UpdateOf(round, client), $"?examples={client + 1}");
            Assert.That(status, Is.EqualTo(expected), body);
        }

        async Task AttackAsync(Server server)
        {
            for (int i = 0; i < 5; i++)
            {
                Assert.That((await server.SendAsync(1, Clients[^1], "garbage"u8.ToArray())).Status, Is.EqualTo(422).Or.EqualTo(410));
                Assert.That((await server.SendAsync(1, Clients[0], UpdateOf(9, 9), token: Clients[1])).Status, Is.EqualTo(403));
                await SendTruncatedAsync(server, Clients[^1], UpdateOf(9, 9));
            }
        }
    }

    [Test]
    public async Task HostileClientsAreRefusedWithAStatusAndASentence()
    {
        using Server server = Start(3);
        Assert.That((await server.SendAsync(1, Clients[0], UpdateOf(1, 0), "?examples=5")).Status, Is.EqualTo(201));
        byte[] good = UpdateOf(1, 1);
        float[] notNumbers = [.. Enumerable.Repeat(float.NaN, 3000)];
        var nan = new MemoryModel { { "layer.weight", [60, 50], notNumbers }, { "layer.bias", [60], new float[60] } };
        var shape = new MemoryModel { { "layer.weight", [50, 60], new float[3000] }, { "layer.bias", [60], new float[60] } };

        await RefuseAsync(409, "Duplicate", 0, new ByteArrayContent(good), "?examples=5");
        await RefuseAsync(422, "Unreadable", 1, new ByteArrayContent("<html>"u8.ToArray()));
        await RefuseAsync(422, "Unreadable", 1, new ByteArrayContent([]));
        await RefuseAsync(422, "Unreadable", 1, new ByteArrayContent(good[..^1]));
        await RefuseAsync(422, "Shape", 1, new ByteArrayContent(Write(shape)), "?examples=5");
        await RefuseAsync(422, "NonFinite", 1, new ByteArrayContent(Write(nan)), "?examples=5");
        await RefuseAsync(422, "Missing", 1, new ByteArrayContent(Write(new MemoryModel { { "x", [1], new float[1] } })), "?examples=5");
        await RefuseAsync(422, "Weight", 1, new ByteArrayContent(good), "?examples=-5");
        await RefuseAsync(422, "Weight", 1, new ByteArrayContent(good));
        await RefuseAsync(413, "TooLarge", 1, new ByteArrayContent(new byte[3 << 20]));
        await RefuseAsync(413, "TooLarge", 1, new StreamContent(new UnknownLength(3 << 20)));
        await RefuseAsync(409, "Stale", 1, new ByteArrayContent(good), round: 2);
        await RefuseAsync(410, "Late", 1, new ByteArrayContent(good), round: 0);
        await RefuseAsync(403, "Forbidden", 1, new ByteArrayContent(good), token: Clients[2]);
        Assert.That((await server.SendAsync(1, "stranger", good, token: "")).Status, Is.EqualTo(403));
        Assert.That((await server.SendAsync(1, Clients[1], good, "?examples=many")).Status, Is.EqualTo(400));
        await SendTruncatedAsync(server, Clients[1], good);

        // the journal and the one good update; a truncated upload goes once the server has noticed
        for (int i = 0; Directory.GetFileSystemEntries(Session).Length > 2 && i < 400; i++)
            await Task.Delay(25);
        Assert.That(Directory.GetFileSystemEntries(Session), Has.Length.EqualTo(2));
        Assert.That((await server.SendAsync(1, Clients[1], good, "?examples=5")).Status, Is.EqualTo(201));

        async Task RefuseAsync(
            int status, string fault, int client, HttpContent content, string query = "", long round = 1, string? token = null)
        {
            (int found, string body) = await server.SendAsync(round, Clients[client], content, query, token);
            Assert.That(found, Is.EqualTo(status), body);
            using JsonDocument problem = JsonDocument.Parse(body);
            Assert.That(problem.RootElement.GetProperty("title").GetString(), Is.EqualTo(fault));
            string detail = problem.RootElement.GetProperty("detail").GetString()!;
            Assert.That(detail, Does.Not.Contain("update-").And.Not.Contain(_folder.FullName).And.Not.Contain("rounds/"));
            Assert.That(Clients.Where((_, other) => other != client), Has.None.Matches<string>(detail.Contains));
        }
    }

    [Test]
    public async Task ThePageLoadsInABrowserAndShowsRoundsAndClients()
    {
        const string Chromium = "chromium";
        if (Tools.TryRun(Chromium, ["--version"], out _) != 0)
            Tools.Missing("chromium");
        using Server server = Start(2);
        for (int client = 0; client < 2; client++)
            await server.SendAsync(1, Clients[client], UpdateOf(1, client));
        await server.DownloadAsync(2);
        Assert.That((await server.GetAsync("rounds/2/report.html")).Status, Is.EqualTo(404));
        while (!Encoding.UTF8.GetString((await server.GetAsync("status")).Body).Contains("\"round\":2", StringComparison.Ordinal))
            await Task.Delay(5);
        Assert.That((await server.SendAsync(2, Clients[7], UpdateOf(2, 7))).Status, Is.EqualTo(201));

        string output = Load("");
        Assert.That(output, Does.Contain("<tr id=\"current\"><td>2</td><td>takes updates</td><td>1 of 2</td>"));
        Assert.That(output, Does.Contain(
            "<td>1</td><td>is over</td><td>2 of 2 in the model</td><td><a href=\"rounds/1/report.html\">page</a> " +
            "<a href=\"rounds/1/report\">JSON</a>"));
        Assert.That(output, Does.Contain($"<li>{Clients[7]}</li>"));
        Assert.That(output, Does.Not.Contain("src=\"").And.Not.Contain("http://").And.Not.Contain("https://"), "no external resources");
        string report = Load("rounds/1/report.html");
        Assert.That(report, Does.Contain("<h1>Round 1 of ").And.Contain(">Clients by tensors<").And.Contain("<canvas"));

        string Load(string page)
        {
            string[] flags =
            [
                "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--disable-sync", $"--user-data-dir={_folder["profile"]}", "--enable-logging=stderr",
                "--dump-dom", new Uri(server.Address, page).ToString(),
            ];
            Assert.That(Tools.TryRun(Chromium, flags, out string output), Is.Zero, output);
            // Chromium writes what a page's console gets, errors of loading and of the policy among it
            Assert.That(output, Does.Not.Contain("CONSOLE"));
            return output;
        }
    }

    [Test]
    public async Task TelemetryGoesToTheConsole()
    {
        using Server server = Start(1, "--Telemetry:Console", "true");
        Assert.That((await server.SendAsync(1, Clients[0], UpdateOf(1, 0))).Status, Is.EqualTo(201));
        while (!server.Output.Any(line => line.StartsWith("Activity.DisplayName:", StringComparison.Ordinal)))
            await Task.Delay(5);
        Assert.That(server.Output, Has.Some.Match("^Activity.DisplayName: +fedicu.round$"));
    }

    /// <summary>
    /// A client whose update was discarded, because too few came until the deadline, sends again in the next attempt.
    /// </summary>
    [Test]
    public async Task ThePythonClientSendsAgainInTheNextAttempt()
    {
        using Server server = Start(2, "--Rounds:LastRound", "1", "--Rounds:Deadline", "00:00:04");
        Task<string> first = RunClientAsync(server, 0);
        while (!Encoding.UTF8.GetString((await server.GetAsync("status")).Body).Contains("\"attempt\":2", StringComparison.Ordinal))
            await Task.Delay(20);
        string[] outputs = await Task.WhenAll(first, RunClientAsync(server, 1));
        Assert.That(outputs[0].Split("201 {").Length - 1, Is.GreaterThanOrEqualTo(2), outputs[0]);
    }

    /// <summary>The server is killed while a client waits, and started again on the same port.</summary>
    [Test]
    public async Task ThePythonClientWaitsForAServerThatRestarts()
    {
        Task<string> client;
        string address;
        using (Server server = Start(2, "--Rounds:LastRound", "1"))
        {
            address = server.Address.ToString().TrimEnd('/');
            client = RunClientAsync(server, 0);
            while (!Encoding.UTF8.GetString((await server.GetAsync("status")).Body).Contains("\"arrived\":1", StringComparison.Ordinal))
                await Task.Delay(20);
        }

        // long enough for the client to find nobody at its port
        await Task.Delay(500);
        using Server again = Start(2, "--Rounds:LastRound", "1", "--urls", address);
        string[] outputs = await Task.WhenAll(client, RunClientAsync(again, 1));
        // the answer to its upload may have been lost with the first server, but the update was not
        Assert.That(outputs[0], Does.Contain("Trying again in "));
        Assert.That(outputs[1], Does.Contain("201 {"));
        string report = Encoding.UTF8.GetString((await again.GetAsync("rounds/1/report")).Body);
        Assert.That(report, Does.Contain(Clients[0]).And.Contain(Clients[1]));
    }

    [Test]
    public async Task AModelWhoseFileHasGoneIsNotFound()
    {
        using Server server = Start(2);
        // as if the rounds removed an adapter's weights between the search and the answer
        Directory.CreateDirectory(_folder["rounds/1/global"]);
        File.Delete(_folder["rounds/1/global.safetensors"]);
        Assert.That((await server.GetAsync("rounds/1/model")).Status, Is.EqualTo(404));
        Assert.That((await server.GetAsync("rounds/1/report")).Status, Is.EqualTo(404));
        Assert.That((await server.GetAsync("rounds/7/report.html")).Status, Is.EqualTo(404));
    }

    /// <summary>The commands of the sample's README: three clients of the Python client, two rounds.</summary>
    [Test]
    public async Task ThePythonClientTrainsRoundAfterRound()
    {
        string[] init = [FindClient(), "init", _folder["global.safetensors"]];
        Assert.That(Tools.TryRun(Tools.PythonWithNumpy(), init, out string output), Is.Zero, output);
        using Server server = Start(3, "--Rounds:LastRound", "2");
        string[] outputs = await Task.WhenAll(Enumerable.Range(0, 3).Select(client => RunClientAsync(server, client)));
        Assert.That(outputs.Select(text => text.Split("201 {").Length - 1), Is.All.EqualTo(2));
        string path = _folder["final.safetensors"];
        File.WriteAllBytes(path, await server.DownloadAsync(3));
        using TensorSource final = TensorSource.Open(path);
        // half of the way to the mean target, 1, in each round
        Assert.That(System.Runtime.InteropServices.MemoryMarshal.Cast<byte, float>(BitsOf(final)).ToArray(), Is.All.EqualTo(0.75f));
    }

    private static string FindClient()
    {
        string script = Path.GetFullPath(Path.Combine(
            AppContext.BaseDirectory, "..", "..", "..", "..", "samples", "HttpRounds", "client.py"));
        if (!File.Exists(script))
            Assert.Ignore("the sources are not here");
        return script;
    }

    /// <summary>Runs the sample's Python client until all rounds are over, and returns what it wrote.</summary>
    private static Task<string> RunClientAsync(Server server, int client)
    {
        string python = Tools.PythonWithNumpy();
        string[] arguments =
        [
            FindClient(), "run", "--server", server.Address.ToString().TrimEnd('/'), "--client", Clients[client],
            "--token", Clients[client], "--target", $"{client}", "--poll", "0.05",
        ];
        return Task.Run(() =>
        {
            Assert.That(Tools.TryRun(python, arguments, out string text), Is.Zero, text);
            return text;
        });
    }

    /// <summary>Announces a whole update, sends a part of it and closes the connection.</summary>
    private static async Task SendTruncatedAsync(Server server, string client, byte[] update)
    {
        using var socket = new TcpClient();
        await socket.ConnectAsync(server.Address.Host, server.Address.Port);
        NetworkStream stream = socket.GetStream();
        await stream.WriteAsync(Encoding.ASCII.GetBytes(
            $"PUT /rounds/1/updates/{client} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {client}\r\n" +
            $"Content-Length: {update.Length}\r\n\r\n"));
        await stream.WriteAsync(update.AsMemory(0, update.Length / 2));
    }

    /// <summary>Zeros whose number the client does not announce.</summary>
    private sealed class UnknownLength(int length) : MemoryStream
    {
        private int _left = length;

        public override bool CanSeek => false;

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int read = Math.Min(buffer.Length, _left);
            _left -= read;
            return ValueTask.FromResult(read);
        }

        public override int Read(byte[] buffer, int offset, int count) => ReadAsync(buffer.AsMemory(offset, count)).AsTask().Result;
    }
}
