using System.Diagnostics;
using FedICU.Tests.Files;
using FolderRounds;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>
/// The common part of the tests of the sample samples/FolderRounds: a folder to watch, and what clients put there.
/// </summary>
internal abstract class FolderWorkerFixture
{
    private protected TempFolder _folder = null!;

    [SetUp]
    public void CreateFolder()
    {
        _folder = new TempFolder();
        foreach (string name in (string[])["inbox", "done", "failed"])
            Directory.CreateDirectory(_folder[name]);
        Rounds.Model(0).SaveTo(TensorSink.ToFile(_folder["global.safetensors"]));
    }

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    private protected IHost Build(params (string Name, string Value)[] values)
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?>
        {
            ["FedICU:Strategy"] = "fedicu",
            ["Folder:Path"] = _folder.FullName,
            ["Folder:Poll"] = "00:00:00.02",
        });
        builder.Configuration.AddInMemoryCollection(values.Select(pair => KeyValuePair.Create(pair.Name, (string?)pair.Value)));
        builder.AddFolderRounds();
        return builder.Build();
    }

    private protected async Task<IHost> StartAsync()
    {
        IHost host = Build();
        await host.StartAsync();
        return host;
    }

    private protected FolderWorker Worker(
        IAggregator? aggregator = null, RoundOptions? options = null, TimeSpan? quiet = null, TimeProvider? clock = null) => new(
        aggregator ?? new FedIcuAggregator(), options ?? new RoundOptions(),
        Options.Create(new FolderOptions { Path = _folder.FullName, QuietTime = quiet }),
        clock ?? TimeProvider.System, NullLogger<FolderWorker>.Instance);

    /// <summary>Starts the sample in a separate process.</summary>
    private protected Process StartProcess() => Process.Start(new ProcessStartInfo(
        Environment.ProcessPath is { } host && Path.GetFileNameWithoutExtension(host) == "dotnet" ? host : "dotnet",
        [
            Path.Combine(AppContext.BaseDirectory, "FolderRounds.dll"), "--Folder:Path", _folder.FullName, "--Folder:Poll", "00:00:00.01",
            "--FedICU:Strategy", "fedicu", "--FedICU:Settings:tau", "0.1", "--FedICU:Settings:quorum", "1",
        ])
    { RedirectStandardError = true, RedirectStandardOutput = true })!;

    private protected void Put(string round, string client, int seed)
    {
        Directory.CreateDirectory(_folder[$"inbox/{round}"]);
        Rounds.Model(seed, (MetadataKeys.Examples, "10")).SaveTo(TensorSink.ToFile(_folder[$"inbox/{round}/{client}.safetensors"]));
    }

    private protected void Ready(string round) => File.WriteAllBytes(_folder[$"inbox/{round}/ready"], []);

    // lock files are no temporary files: they stay
    private protected void AssertNoTemporaries() => Assert.That(
        _folder.Names().Where(name => !name.EndsWith(".fedicu-lock", StringComparison.Ordinal) && name != ".lock"),
        Is.EqualTo(new[] { "done", "failed", "global.safetensors", "inbox" }));

    private protected byte[] Global() => File.ReadAllBytes(_folder["global.safetensors"]);

    private protected string[] Names(string folder) =>
        [.. new DirectoryInfo(_folder[folder]).GetFileSystemInfos().Select(item => item.Name).Order(StringComparer.Ordinal)];

    /// <summary>
    /// Aggregates a round's folder by calling the library directly, and returns the new model's file.
    /// </summary>
    private protected async Task<byte[]> ExpectedAsync(string folder, long number)
    {
        using var place = new TempFolder();
        using TensorSource global = TensorSource.Open(_folder["global.safetensors"]);
        var round = new AggregationRound(global, new RoundOptions { Round = number });
        foreach (string path in Directory.GetFiles(folder, "*.safetensors"))
            round.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(path), path));
        await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile(place["next.safetensors"]));
        return File.ReadAllBytes(place["next.safetensors"]);
    }

    private protected static async Task UntilAsync(Func<bool> condition)
    {
        for (int i = 0; !condition(); i++)
        {
            Assert.That(i, Is.LessThan(3000), "nothing happened for a minute");
            await Task.Delay(20);
        }
    }
}
