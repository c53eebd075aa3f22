using FedICU.Compute.Simd;
using FedICU.Rounds.Lora;

namespace FedICU.Tests;

/// <summary>A report's text, and its JSON and back.</summary>
internal sealed class RoundReportTests
{
    [Test]
    public void WeightsThatDifferFromTheSharesAreReported()
    {
        // the example of docs/algorithms.md
        MemoryModel global = Models.Of("w", [2, 2], 1, 0, 0, 2);
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("a", Models.Of("w", [2, 2], 2, 0, 0, 2), 1),
            ClientUpdate.FromTensors("b", Models.Of("w", [2, 2], 1, 1, 1, 2), 2),
            ClientUpdate.FromTensors("c", Models.Of("w", [2, 2], -1, 0, 0, 3), 3),
        ];
        const string Line = "fedicu weighs the clients by w_k, not by these shares; mean w_k: a 0.381, b 0.608, c 0.011";
        Assert.That(Text(new FedIcuAggregator()), Does.Contain(Line));
        Assert.That(Text(new FedAvgAggregator()), Does.Not.Contain("w_k"));
        Assert.That(Text(new FedIcuAggregator(new FedIcuOptions { Tau = double.PositiveInfinity, TimesShare = true })),
            Does.Not.Contain("w_k"), "the weights are the shares");

        string Text(IAggregator aggregator)
        {
            RoundReport report = Models.RunForReport(aggregator, global, clients);
            Assert.That(RoundReport.FromJson(report.ToJson()).ToString(), Is.EqualTo(report.ToString()));
            return report.ToString();
        }
    }

    [Test]
    public void ALongListOfWeightsIsCut()
    {
        ClientReport[] clients = [.. Enumerable.Range(0, 12)
            .Select(k => new ClientReport { Id = $"{k:00}", Weight = 1, Included = true, Kind = "full" })];
        var tensor = new TensorReport
        {
            Name = "w",
            DType = "F32",
            Shape = [1],
            Rule = "s",
            Clients = [.. clients.Select(client => new TensorClientReport { Id = client.Id, Weight = 1.0 / 12 })]
        };
        Assert.That(new RoundReport { Strategy = "s", Backend = "b", Clients = clients, Tensors = [tensor] }.ToString(),
            Does.EndWith("09 0.083 and 2 more"));
    }

    [Test]
    public void SharesOfSeveralBackendsAreReported()
    {
        var report = new RoundReport
        {
            Strategy = "s",
            Backend = "cuda",
            Clients = [],
            Tensors = [],
            BackendShares = [new("simd", 0.75), new("cuda", 0.25)]
        };
        Assert.That(report.ToString(), Is.EqualTo("s: 0 of 0 clients, 0 tensors, backend cuda (simd 75.0 %, cuda 25.0 % of the bytes)"));
        Assert.That(report.ToJson(), Does.Match("\"backend_shares\": \\[\\s+{\\s+\"name\": \"simd\",\\s+\"share\": 0.75"));
        Assert.That(RoundReport.FromJson(report.ToJson()).BackendShares, Is.EqualTo(report.BackendShares));
        Assert.That((report with { BackendShares = [new("cuda", 1)] }).ToString(), Does.EndWith("backend cuda"));
        Assert.That(RoundReport.FromJson("{\"strategy\":\"s\",\"backend\":\"simd\",\"clients\":[],\"tensors\":[]}").BackendShares.Count,
            Is.Zero, "a report of an earlier version");
    }

    [Test]
    public void NamesInTheTextAreCleaned()
    {
        var client = new ClientReport { Id = "a\n\u001b[31m", Weight = 1, Included = true, Kind = "full" };
        var tensor = new TensorReport { Name = "w\u0007", DType = "F32", Shape = [1], Rule = "s", Reason = "It was kept." };
        string text = new RoundReport { Strategy = "s", Backend = "b", Clients = [client], Tensors = [tensor], LoraPairs = [new("m\r", 0)] }
            .ToString();
        Assert.That(text.ReplaceLineEndings("").Any(char.IsControl), Is.False, text);
        Assert.That(text, Does.Contain("a\\u000a\\u001b[31m: weight 1").And.Contain("w\\u0007").And.Contain("m\\u000d"));
    }

    [Test]
    public void MissingListsAreEmpty()
    {
        var report = RoundReport.FromJson(
            """{"strategy":"s","backend":"b","clients":[],"tensors":[{"name":"w","dtype":"F32","shape":[1],"rule":"s"}]}""");
        Assert.That((report.Notes.Count, report.LoraPairs.Count, report.Tensors[0].Clients.Count), Is.EqualTo((0, 0, 0)));
        Assert.That(report.ToString(), Is.EqualTo("s: 0 of 0 clients, 1 tensor, backend b"));
    }

    [TestCase(""), TestCase("{"), TestCase("{}"), TestCase("null"), TestCase("[1]")]
    public void TextThatIsNotAReportIsRefused(string json) => Assert.That(
        () => RoundReport.FromJson(json), Throws.TypeOf<FedIcuException>().With.Message.StartsWith("The text is not a report: "));

    [TestCase("\"notes\": [\n    \"n\"\n  ]", "\"notes\": null")]
    [TestCase("\"notes\": [\n    \"n\"\n  ]", "\"notes\": [null]")]
    [TestCase("\"id\": \"a\"", "\"id\": null")]
    [TestCase("\"id\": \"a\"", "\"id\": \"a\", \"weight\": \"\\u202e\"")]
    [TestCase("\"shape\": [\n        1\n      ]", "\"shape\": null")]
    [TestCase("\"share_sent\"", "\"other\"")]
    [TestCase("\"share_sent\": 1", "\"share_sent\": [[[[[")]
    public void ADamagedReportIsRefused(string part, string damaged)
    {
        string json = new RoundReport
        {
            Strategy = "s",
            Backend = "b",
            Clients = [new ClientReport { Id = "a", Weight = 1, Included = true, Kind = "full" }],
            Tensors = [new TensorReport { Name = "w", DType = "F32", Shape = [1], Rule = "s",
                Clients = [new TensorClientReport { Id = "a" }] }],
            Notes = ["n"],
        }.ToJson();
        Assert.That(json, Does.Contain(part));
        Assert.That(() => RoundReport.FromJson(json.Replace(part, damaged)), Throws.TypeOf<FedIcuException>()
            .With.Message.Match(@"^The text is not a report: (the fault is at byte \d+ of line \d+|a list holds null)\.$"));
    }

    [Test]
    public void ALaterFormatIsRefusedAndAnAbsentOneIsRead()
    {
        const string Rest = "\"strategy\": \"s\", \"backend\": \"b\", \"clients\": [], \"tensors\": []}";
        Assert.That(new RoundReport { Strategy = "s", Backend = "b", Clients = [], Tensors = [] }.ToJson(),
            Does.StartWith("{\n  \"format\": 1,\n"));
        Assert.That(RoundReport.FromJson("{\"format\": 1, " + Rest), Is.Not.Null);
        Assert.That(RoundReport.FromJson("{" + Rest), Is.Not.Null);
        Assert.That(() => RoundReport.FromJson("{\"clients\": 7, \"format\": 2}"), Throws.TypeOf<FedIcuException>()
            .With.Message.EqualTo("The report has format 2; this version of FedICU.Core reads format 1."));
        Assert.That(() => RoundReport.FromJson("{\"format\": \"1\", " + Rest), Throws.TypeOf<FedIcuException>()
            .With.Message.EqualTo("The text is not a report: its format is not a whole number; 1 was expected."));
    }

    [Test]
    public void TheLeaderHasTheLargestWeightUnlessAnotherEqualsIt()
    {
        Assert.That(Leader("fedicu", 0.25, 0.1 + 0.2, 0.3), Is.Null);
        Assert.That(Leader("fedicu", 0.25, 0.3001, 0.3), Is.EqualTo("1"));
        Assert.That(Leader("fedicu", -0.25, -0.5), Is.EqualTo("0"));
        Assert.That(Leader("fedavg", 0.25, 0.75), Is.Null, "another rule computed the tensor");
        Assert.That(Leader("fedicu", [null]), Is.Null);

        static string? Leader(string strategy, params double?[] weights)
        {
            var tensor = new TensorReport
            {
                Name = "w",
                DType = "F32",
                Shape = [1],
                Rule = "fedicu",
                Clients = [.. weights.Select((weight, i) => new TensorClientReport { Id = $"{i}", Weight = weight })],
            };
            return new RoundReport { Strategy = strategy, Backend = "b", Clients = [], Tensors = [tensor] }.FindLeader(tensor)?.Id;
        }
    }

    [TestCase(-0.1, true), TestCase(0, false), TestCase(0.1, false), TestCase(null, false)]
    public void ANegativeCosineIsAgainstTheMean(double? cosine, bool expected) =>
        Assert.That(new TensorClientReport { Id = "a", Cosine = cosine }.IsAgainst, Is.EqualTo(expected));

    [Test]
    public void StatisticsAreNormsAndCosines()
    {
        MemoryModel global = new() { { "w", [2], new float[] { 1, 1 } } };
        ClientUpdate[] clients =
        [
            ClientUpdate.FromTensors("x", new MemoryModel { { "w", [2], new float[] { 4, 5 } } }, 1),
            ClientUpdate.FromTensors("y", new MemoryModel { { "w", [2], new float[] { 1, 1 } } }, 1),
        ];
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), global, clients, new RoundOptions { Statistics = true });
        TensorClientReport x = report.Tensors[0].Clients[0], y = report.Tensors[0].Clients[1];
        Assert.That((x.Norm, x.UpdateNorm, x.Cosine, x.Weight), Is.EqualTo((Math.Sqrt(41), 5.0, 1.0, 0.5)));
        Assert.That((y.Norm, y.UpdateNorm, y.Cosine), Is.EqualTo((Math.Sqrt(2), 0.0, 0.0)));
    }

    [Test]
    public void NumbersThatAreNotFiniteAreNullInJson()
    {
        MemoryModel global = Models.Of64("w", [2], 1.7e308, -1.7e308);
        RoundReport report = Models.RunForReport(new FedAvgAggregator(), global, [ClientUpdate.FromTensors("x", global, 3)],
            new RoundOptions { Statistics = true });
        report = report with { LoraPairs = [new LoraPairReport("m", double.NaN)] };
        Assert.That(report.Tensors[0].Clients[0].Norm, Is.EqualTo(double.PositiveInfinity));
        var read = RoundReport.FromJson(report.ToJson());
        Assert.That(report.ToJson(), Does.Contain("\"norm\": null").And.Contain("\"cross_term\": null").And.Contain("\"weight\": 3"));
        Assert.That(read.Tensors[0].Clients[0].Norm, Is.Null);
        Assert.That(read.LoraPairs[0].CrossTerm, Is.NaN);
        Assert.That((read.Clients[0].Weight, read.Clients[0].Share), Is.EqualTo((3.0, 1.0)));
    }

    [Test]
    public void TheReportUsesSingularAndPlural() => Assert.That(
        new RoundReport
        {
            Strategy = "s",
            Backend = "b",
            Clients = [],
            Tensors = [new TensorReport { Name = "w", DType = "F32", Shape = [1], Rule = "s" }]
        }.ToString(),
        Is.EqualTo("s: 0 of 0 clients, 1 tensor, backend b"));

    [TestCase("[\"a\", null]", "[1, 2]", "a list holds null."), TestCase("[\"a\", \"b\"]", "[1]", "one value for each of its clients.")]
    public void AStageThatDoesNotFitItsClientsIsRefused(string clients, string values, string what)
    {
        string json = $$"""
            {"strategy":"s","backend":"b","clients":[],"tensors":[],
            "stages":[{"stage":"krum","name":"score","clients":{{clients}},"values":{{values}}}]}
            """;
        Assert.That(() => RoundReport.FromJson(json), Throws.TypeOf<FedIcuException>().With.Message.EndsWith(what));
    }
}
