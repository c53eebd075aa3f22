using System.Text.RegularExpressions;
using FedICU.Tests.Docs;
using FedICU.Tests.Files;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>Runs the code of docs/plugging-in/dotnet-hosts.md with the configuration that the document shows.</summary>
[NonParallelizable]
internal sealed partial class DotnetHostsSnippets
{
    private const string Page = "docs/plugging-in/dotnet-hosts.md";

    /// <summary>Gets the page's text, or null if the tests run outside of the repository.</summary>
    public static string? Text => Documents.Root is null ? null : Documents.Read(Page);

    [Test]
    public async Task TheExampleRuns()
    {
        await HostExample.RunAsync(Page, Enumerable.First, async () =>
        {
            await RunAsync([]);
            using TensorSource next = TensorSource.Open("next.safetensors");
            Assert.That(next.Metadata[MetadataKeys.Round], Is.EqualTo("7"));
        });

        static async Task RunAsync(string[] args)
        {
            #region dotnet-host
            HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);
            builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"));
            builder.Services.AddFedIcu("lora", builder.Configuration.GetSection("LoRA"));
            builder.Services.AddHealthChecks().AddFedIcu().AddFedIcu("lora");
            builder.Services.AddSingleton<LoraRounds>();
            using IHost host = builder.Build();
            await host.StartAsync();

            RoundReport report = await host.Services.GetRequiredService<LoraRounds>().RunAsync(7, ["a.safetensors", "b.safetensors"]);
            Console.WriteLine(report);
            await host.StopAsync();
            #endregion

            Assert.That((report.Round, report.Strategy, report.Clients.Count), Is.EqualTo((7L, "fedicu", 2)));
            Assert.That(host.Services.GetRequiredService<IAggregator>().Name, Is.EqualTo("fedavg"));
        }
    }

    [Test]
    public async Task TheRoundsRun()
    {
        using var folder = new TempFolder();
        Rounds.Model(0).SaveTo(TensorSink.ToFile(folder["global.safetensors"]));
        Rounds.Model(1).SaveTo(TensorSink.ToFile(folder["update.safetensors"]));
        using FileStream upload = File.OpenRead(folder["update.safetensors"]);
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Configuration.AddInMemoryCollection(
        [
            new("FedICU:Strategy", "fedavg"), new("Rounds:Folder", folder["rounds"]), new("Rounds:ExpectedClients", "1"),
            new("Rounds:InitialModel", folder["global.safetensors"]),
        ]);
        #region dotnet-rounds
        builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"));
        builder.Services.AddFedIcuRounds(builder.Configuration.GetSection("Rounds"));
        #endregion
        using IHost host = builder.Build();
        await host.StartAsync();

        #region dotnet-rounds-use
        FederatedRounds rounds = host.Services.GetRequiredService<FederatedRounds>();
        long number = rounds.Status.Number;
        string model = rounds.FindModel(number)!;
        UpdateReceipt receipt = await rounds.AddAsync(number, "clinic-a", upload, examples: 120);
        await rounds.WaitForRoundAsync(number + 1);
        Console.WriteLine(rounds.Finished[0].ReportPath);
        #endregion

        Assert.That((number, File.Exists(model), receipt.IsRepeated), Is.EqualTo((1L, true, false)));
        Assert.That(rounds.Finished[0].ReportPath, Is.EqualTo(folder["rounds/1/report.json"]));
    }

    [Test]
    public async Task TheStrategyAndItsStateAreUsed()
    {
        var builder = new HostApplicationBuilder(new HostApplicationBuilderSettings { DisableDefaults = true });
        builder.Configuration.AddInMemoryCollection(
        [
            new("FedICU:Strategy", "median,scaled,fedadam"), new("FedICU:Settings:factor", "0.5"),
        ]);
        #region dotnet-strategy
        builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"))
            .AddStrategy("scaled", "Multiplies the merged update.", "", reader =>
            {
                double factor = reader.Number("factor", 1, "What the update is multiplied by.");
                return () => [new Scaled(factor)];
            });
        #endregion
        builder.Services.AddSingleton<AdamRounds>();
        using IHost host = builder.Build();
        for (int i = 1; i <= 2; i++)
        {
            using var next = new MemorySink();
            await host.Services.GetRequiredService<AdamRounds>().RunAsync(
                Rounds.Model(0), [ClientUpdate.FromTensors("a", Rounds.Model(1))], next);
            Assert.That(host.Services.GetRequiredService<RoundState>().RoundsFinished, Is.EqualTo(i));
        }
    }

    [Test]
    public void ThePageShowsTheCodeThatRuns()
    {
        if (Documents.Root is null)
            Assert.Ignore("the documents are not here");
        string file = Path.Combine(Documents.Root!, "tests", "FedICU.Extensions.Tests", "DotnetHostsSnippets.cs");
        MatchCollection matches = RegionPattern().Matches(File.ReadAllText(file).ReplaceLineEndings("\n"));
        var regions = matches.ToDictionary(match => match.Groups["name"].Value, match => Unindent(match.Groups["body"].Value));
        Fence[] shown = [.. Documents.Split(Page).Fences.Where(fence => fence.IsCSharp)];
        Assert.That(shown.Select(fence => fence.Name), Is.EquivalentTo(regions.Keys));
        foreach (Fence fence in shown)
            Assert.That(Unindent(UsingPattern().Replace(fence.Text, "")), Is.EqualTo(regions[fence.Name]), fence.ToString());
    }

    private static string Unindent(string text)
    {
        string[] lines = text.Trim('\n').Split('\n');
        int indentation = lines.Where(line => line.Trim().Length > 0).Min(line => line.Length - line.TrimStart().Length);
        return string.Join('\n', lines.Select(line => line.Trim().Length > 0 ? line[indentation..] : "")).Trim('\n');
    }

    [GeneratedRegex(@"^ *#region (?<name>\S+)\n(?<body>.*?)^ *#endregion", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex RegionPattern();

    [GeneratedRegex(@"^using [\w.]+;\n", RegexOptions.Multiline)]
    private static partial Regex UsingPattern();

    private sealed class Scaled(double factor) : ServerStep
    {
        public override string Name => "scaled";

        public override void Apply(ElementBlock block)
        {
            foreach (ref double element in block.Update)
                element *= factor;
        }
    }

    #region dotnet-state
    internal sealed class AdamRounds(IAggregator aggregator, RoundOptions options, RoundState? state)
    {
        public async Task RunAsync(TensorSource global, IEnumerable<ClientUpdate> updates, TensorSink next)
        {
            var round = new AggregationRound(global, options) { State = state };
            foreach (ClientUpdate update in updates)
                round.Add(update);
            await aggregator.AggregateAsync(round, next);
        }
    }
    #endregion

    #region dotnet-service
    internal sealed class LoraRounds([FromKeyedServices("lora")] IAggregator aggregator, [FromKeyedServices("lora")] RoundOptions options)
    {
        public async Task<RoundReport> RunAsync(long number, IEnumerable<string> updates)
        {
            using TensorSource global = TensorSource.Open("global.safetensors");
            var round = new AggregationRound(global, options with { Round = number });
            foreach (string path in updates)
                round.Add(ClientUpdate.FromFile(Path.GetFileNameWithoutExtension(path), path));
            return (await aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"))).Report;
        }
    }
    #endregion
}
