namespace FedICU.Tests.Docs;

/// <summary>Runs the example of README.md.</summary>
internal sealed class ReadmeSnippets : SnippetFixture
{
    [Test, SetCulture("")]
    public async Task TheExamplePrintsWhatTheReadmeShows()
    {
        var printed = new StringWriter { NewLine = "\n" };
        TextWriter console = Console.Out;
        Console.SetOut(printed);
        try
        {
            #region readme
            static MemoryModel Model(params float[] weights) => new() { { "layer.weight", [2, 2], weights } };

            var round = new AggregationRound(global: Model(1, 0, 0, 2))
            {
                ClientUpdate.FromTensors("clinic-a", Model(2, 0, 0, 2), examples: 1200),
                ClientUpdate.FromTensors("clinic-b", Model(1, 1, 1, 2), examples: 300),
                ClientUpdate.FromTensors("clinic-c", Model(-1, 0, 0, 3), examples: 500),
            };
            using var next = new MemorySink();
            AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, next);
            Console.WriteLine(string.Join("  ", next.Model.ToArray<float>("layer.weight")));
            Console.WriteLine(result.Report);
            #endregion

            // the known answer of docs/algorithms.md
            float[] expected = [1.29591174f, .67316738f, .69688164f, 2.31618198f];
            Assert.That(next.Model.ToArray<float>("layer.weight"), Is.EqualTo(expected).Within(1e-7));
            Assert.That(result.Report.Clients.Select(client => client.Share), Is.EqualTo(new[] { .6, .15, .25 }));
        }
        finally
        {
            Console.SetOut(console);
        }

        Assert.That(printed.ToString().ReplaceLineEndings("\n").TrimEnd(), Is.EqualTo(OutputOf("README.md", "readme")));
    }
}
