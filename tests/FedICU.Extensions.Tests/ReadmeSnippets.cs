using FedICU.Tests.Docs;
using FedICU.Tests.Files;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;

namespace FedICU.Extensions.Tests;

/// <summary>
/// Runs the example of the package's README with the configuration that it shows. SnippetTests compares the texts.
/// </summary>
[NonParallelizable]
internal sealed class ReadmeSnippets
{
    private const string Readme = "src/FedICU.Extensions/README.md";

    [Test]
    public async Task TheExampleRuns()
    {
        await HostExample.RunAsync(Readme, Enumerable.Single, async () =>
        {
            await RunAsync([]);
            Assert.That(File.Exists("next.safetensors"));
        });

        static async Task RunAsync(string[] args)
        {
            #region extensions
            HostApplicationBuilder builder = Host.CreateApplicationBuilder(args);
            builder.Services.AddFedIcu(builder.Configuration.GetSection("FedICU"));
            using IHost host = builder.Build();
            await host.StartAsync();

            var aggregator = host.Services.GetRequiredService<IAggregator>();
            var options = host.Services.GetRequiredService<RoundOptions>();
            using TensorSource global = TensorSource.Open("global.safetensors");
            var round = new AggregationRound(global, options)
            {
                ClientUpdate.FromFile("a", "a.safetensors"),
                ClientUpdate.FromFile("b", "b.safetensors"),
            };
            AggregationResult result = await aggregator.AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
            Console.WriteLine(result.Report);
            #endregion

            Assert.That((result.Report.Strategy, result.Report.Clients.Count), Is.EqualTo(("fedicu", 2)));
            await host.StopAsync();
        }
    }
}
