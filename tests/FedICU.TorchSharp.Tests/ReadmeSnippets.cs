using static TorchSharp.torch;
using static TorchSharp.torch.nn;

namespace FedICU.TorchSharp.Tests;

/// <summary>
/// Runs the example of the package's README and of docs/plugging-in/torchsharp.md. SnippetTests compares the texts.
/// </summary>
internal sealed class ReadmeSnippets
{
    [Test]
    public async Task TheExampleRuns()
    {
        random.manual_seed(5);
        using Module<Tensor, Tensor> global = Linear(4, 2);
        Module<Tensor, Tensor>[] clients = [Linear(4, 2), Linear(4, 2)];
        double[] examples = [10, 30];
        using Tensor before = global.state_dict()["weight"].clone();

        #region torchsharp
        using var received = new StateDictModel(global.state_dict());
        var round = new AggregationRound(received.Model);
        List<StateDictModel> updates = [.. clients.Select(client => new StateDictModel(client.state_dict()))];
        for (int k = 0; k < updates.Count; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k}", updates[k].Model, examples: examples[k]));

        var sink = new StateDictSink(global.state_dict());
        AggregationResult result = await new FedIcuAggregator().AggregateAsync(round, sink);
        updates.ForEach(update => update.Dispose());

        global.load_state_dict(sink.StateDict);
        Console.WriteLine(result.Report);
        #endregion

        Assert.That(result.Report.Clients.Select(client => client.Share), Is.EqualTo(new[] { .25, .75 }));
        Assert.That(global.state_dict()["weight"].allclose(sink.StateDict["weight"]));
        Assert.That(global.state_dict()["weight"].allclose(before), Is.False);
        foreach (Module<Tensor, Tensor> client in clients)
            client.Dispose();
    }
}
