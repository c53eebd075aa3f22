namespace FedICU.Tests.Docs;

/// <summary>Runs what docs/adapters.md shows.</summary>
internal sealed class AdapterSnippets : SnippetFixture
{
    [Test]
    public async Task FlexLora()
    {
        foreach ((int k, string folder) in ((string[])["base", "round7/a", "round7/b"]).Index())
            new LoraClient([1, 2 + k, 3, 4, 5, 6], [1, k, 2, 1], 4, 1 + k) { Inputs = 3 }.Save(folder);

        #region run-flexlora
        using TensorSource global = TensorSource.Open("base/");
        var round = new AggregationRound(global) { ClientUpdate.FromFile("a", "round7/a"), ClientUpdate.FromFile("b", "round7/b") };
        IAggregator server = new FlexLoraAggregator(new FlexLoraOptions { Rank = 2 });
        AggregationResult result = await server.AggregateAsync(round, TensorSink.To("next/", global));
        double largest = result.Report.LoraPairs.Max(pair => pair.RelativeError ?? 0);
        #endregion

        Assert.That(largest, Is.LessThan(1e-12), "the weight has two outputs");
    }
}
