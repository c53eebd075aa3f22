namespace FedICU.Tests;

/// <summary>What a report says in words, and how it is read back.</summary>
internal sealed class RoundReportTests
{
    [Test]
    public void WeightsThatAreNotTheSharesAreTold()
    {
        // the known answer of docs/algorithms.md
        MemoryModel global = Models.Of("w", [2, 2], 1, 0, 0, 2);
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("a", Models.Of("w", [2, 2], 2, 0, 0, 2), 1), ClientUpdate.FromTensors("b", Models.Of("w", [2, 2], 1, 1, 1, 2), 2),
            ClientUpdate.FromTensors("c", Models.Of("w", [2, 2], -1, 0, 0, 3), 3),
        ];
        const string Line = "fedicu weighs the clients by w_k, not by these shares; mean w_k: a 0.381, b 0.608, c 0.011";
        Assert.That(Text(new FedIcuAggregator()), Does.Contain(Line));
        Assert.That(Text(new FedAvgAggregator()), Does.Not.Contain("w_k"));
        Assert.That(Text(new FedIcuAggregator(new FedIcuOptions { Tau = double.PositiveInfinity, TimesShare = true })), Does.Not.Contain("w_k"), "these are the shares");

        string Text(IAggregator aggregator)
        {
            (RoundReport report, MemorySink sink) = Models.Run(aggregator, global, clients);
            sink.Dispose();
            Assert.That(RoundReport.FromJson(report.ToJson()).ToString(), Is.EqualTo(report.ToString()));
            return report.ToString();
        }
    }

    [Test]
    public void ALongListOfWeightsIsCut()
    {
        ClientReport[] clients = [.. Enumerable.Range(0, 12).Select(k => new ClientReport { Id = $"{k:00}", Weight = 1, Included = true, Kind = "full" })];
        var tensor = new TensorReport { Name = "w", DType = "F32", Shape = [1], Rule = "s", Clients = [.. clients.Select(client => new TensorClientReport { Id = client.Id, Weight = 1.0 / 12 })] };
        Assert.That(new RoundReport { Strategy = "s", Backend = "b", Clients = clients, Tensors = [tensor] }.ToString(), Does.EndWith("09 0.083 and 2 more"));
    }

    [Test]
    public void SharesOfBackendsAreToldWhereThereAreSeveral()
    {
        var report = new RoundReport { Strategy = "s", Backend = "cuda", Clients = [], Tensors = [], BackendShares = [new("simd", 0.75), new("cuda", 0.25)] };
        Assert.That(report.ToString(), Is.EqualTo("s: 0 of 0 clients, 0 tensors, backend cuda (simd 75.0 %, cuda 25.0 % of the bytes)"));
        Assert.That(report.ToJson(), Does.Match("\"backend_shares\": \\[\\s+{\\s+\"name\": \"simd\",\\s+\"share\": 0.75"));
        Assert.That(RoundReport.FromJson(report.ToJson()).BackendShares, Is.EqualTo(report.BackendShares));
        Assert.That((report with { BackendShares = [new("cuda", 1)] }).ToString(), Does.EndWith("backend cuda"));
        Assert.That(RoundReport.FromJson("{\"strategy\":\"s\",\"backend\":\"simd\",\"clients\":[],\"tensors\":[]}").BackendShares.Count, Is.Zero, "a report of an earlier version");
    }

    [TestCase(""), TestCase("{"), TestCase("{}"), TestCase("null"), TestCase("[1]")]
    public void WhatIsNoReportIsRefused(string json) => Assert.That(
        () => RoundReport.FromJson(json), Throws.TypeOf<FedIcuException>().With.Message.StartsWith("The text is no report: "));
}
