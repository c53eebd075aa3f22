namespace FedICU.Tests.Docs;

/// <summary>The README's example.</summary>
internal sealed class ReadmeSnippets : SnippetFixture
{
    [Test]
    public async Task ARoundFromFiles()
    {
        PutRound();
        File.Move("a.safetensors", "clinic-a.safetensors");
        File.Move("b.safetensors", "clinic-b.safetensors");
        File.Move("c.safetensors", "clinic-c.safetensors");

        #region readme
        using TensorSource global = TensorSource.Open("global.safetensors");
        var round = new AggregationRound(global)
        {
            ClientUpdate.FromFile("clinic-a", "clinic-a.safetensors", examples: 1200),
            ClientUpdate.FromFile("clinic-b", "clinic-b.safetensors", examples: 300),
            ClientUpdate.FromFile("clinic-c", "clinic-c.safetensors", examples: 500),
        };
        AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, TensorSink.ToFile("next.safetensors"));
        Console.WriteLine(result.Report);
        #endregion

        // the known answer of docs/algorithms.md
        Assert.That(ValuesOf("next.safetensors"), Is.EqualTo(new[] { 1.29591174, .67316738, .69688164, 2.31618198 }).Within(1e-7));
        Assert.That(result.Report.Clients.Select(client => client.Share), Is.EqualTo(new[] { .6, .15, .25 }));
    }
}
