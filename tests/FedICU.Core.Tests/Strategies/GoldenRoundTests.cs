using System.Text.Json;

namespace FedICU.Tests;

/// <summary>
/// The library's results of the golden rounds, within the bounds that the golden folder's README states.
/// </summary>
[TestFixture("f32"), TestFixture("bf16"), TestFixture("f16-one-client")]
internal sealed class GoldenRoundTests(string round)
{
    [Test]
    public void FedAvgMatches([Values] bool wide) => Aggregate(new FedAvgAggregator(), "expected-fedavg", wide);

    [Test]
    public void FedProxMatches([Values] bool wide) => Aggregate(new FedProxAggregator(), "expected-fedavg", wide);

    [Test]
    public void FedIcuMatches([Values] bool wide)
    {
        RoundReport report = Aggregate(new FedIcuAggregator(), "expected-fedicu", wide);
        using JsonDocument expected = JsonDocument.Parse(File.ReadAllBytes(PathOf("expected.json", extension: "")));
        foreach (TensorReport tensor in report.Tensors)
        {
            JsonElement ofTensor = expected.RootElement.GetProperty("fedicu_weights").GetProperty(tensor.Name);
            double[] weights = [.. ofTensor.EnumerateArray().Select(value => value.GetDouble())];
            Assert.That(tensor.Clients.Select(client => client.Weight!.Value), Is.EqualTo(weights).Within(1e-13));
        }
    }

    [TestCase("expected-masked-client-0", false, MaskRule.Hard)]
    [TestCase("expected-masked-client-0-with-momentum", true, MaskRule.Hard)]
    [TestCase("expected-softmasked-client-0", false, MaskRule.Soft)]
    public void TheMaskedUpdateMatches(string expectedName, bool withMomentum, MaskRule rule)
    {
        using TensorSource global = Open("global"), local = Open("client-0"), expected = Open(expectedName);
        using TensorSource? momentum = withMomentum ? Open("momentum-in") : null;
        using var sink = new MemorySink();
        using var momentumOut = new MemorySink();
        var client = new FedIcuClient(new FedIcuClientOptions { Mask = rule });
        MaskReport report = client.CreateUpdate(global, local, sink, momentum, momentumOut, dense: true);
        Golden.Compare(sink.Model, expected);
        if (!withMomentum)
        {
            using JsonDocument shares = JsonDocument.Parse(File.ReadAllBytes(PathOf("expected.json", extension: "")));
            foreach (TensorMaskReport tensor in report.Tensors)
            {
                JsonElement share = shares.RootElement.GetProperty("masked_share_client_0").GetProperty(tensor.Name);
                Assert.That(tensor.ShareSent, Is.EqualTo(share.GetDouble()).Within(1e-15));
            }

            return;
        }

        using TensorSource expectedMomentum = Open("expected-momentum-out");
        Golden.Compare(momentumOut.Model, expectedMomentum);
    }

    [Test]
    public void ASparseUpdateUnpacksToTheDenseOne()
    {
        using TensorSource global = Open("global"), local = Open("client-0");
        using var dense = new MemorySink();
        using var sparse = new MemorySink();
        var client = new FedIcuClient();
        client.CreateUpdate(global, local, dense, dense: true);
        client.CreateUpdate(global, local, sparse);
        Assert.That(sparse.Model.Metadata[MetadataKeys.Update], Is.EqualTo("sparse"));
        // FedAvg of one client gives the update back
        (_, MemorySink unpacked) = Models.Run(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("c", sparse.Model)]);
        using (unpacked)
            Assert.That(Models.AllBytes(unpacked.Model), Is.EqualTo(Models.AllBytes(dense.Model)));
    }

    private RoundReport Aggregate(IAggregator aggregator, string expectedName, bool wide)
    {
        using TensorSource global = Open("global"), expected = Open(expectedName);
        ClientUpdate[] updates = [.. Directory.GetFiles(Golden.RoundFolder(round), "client-*.safetensors").Select(
            path => ClientUpdate.FromFile(Path.GetFileName(path), path))];
        (RoundReport report, MemorySink sink) =
            Models.Run(aggregator, global, updates, new RoundOptions { OutputDType = wide ? DType.F64 : null });
        using (sink)
            Golden.Compare(sink.Model, expected);
        return report;
    }

    private TensorSource Open(string name) => TensorSource.Open(PathOf(name));

    private string PathOf(string name, string extension = ".safetensors") => Path.Combine(Golden.RoundFolder(round), name + extension);
}
