namespace FedICU.Tests;

/// <summary>Rounds of LoRA pairs with inputs that policies drop, or that are rare.</summary>
internal sealed class LoraRuleInputTests : FolderFixture
{
    private static readonly RoundOptions Dropping = new() { OnShape = FaultPolicy.DropTensor, OnMissing = FaultPolicy.DropTensor };

    [Test]
    public void AnAlphaOfManyElementsIsDroppedOrRefused([Values("flora", "ffa-lora")] string rule)
    {
        using MemoryModel global = Kohya(2, 8), good = Kohya(2, 8), bad = Kohya(2, 8, alphas: 4096);
        ClientUpdate[] updates = [ClientUpdate.FromTensors("a", good, 1), ClientUpdate.FromTensors("b", bad, 1)];
        Assert.That(() => Run(rule, global, updates), Throws.TypeOf<RoundRejectedException>().With.Message.Contain("'m.alpha'"));
        RoundReport report = Run(rule, global, updates, Dropping, out MemorySink sink);
        Models.AssertSameBits(sink, Copy(global));
        Assert.That(report.LoraPairs, Is.Empty);
    }

    [Test]
    public void AFrozenAThatIsMissingOrOfAnotherRankIsDropped([Values] bool isMissing)
    {
        using MemoryModel global = Kohya(2, 8), good = Kohya(2, 8), bad = isMissing ? Kohya(2, 8, withA: false) : Kohya(1, 8);
        ClientUpdate[] updates = [ClientUpdate.FromTensors("a", good, 1), ClientUpdate.FromTensors("b", bad, 1)];
        Run("ffa-lora", global, updates, Dropping, out MemorySink sink);
        Models.AssertSameBits(sink, Copy(global));
    }

    [Test]
    public void ASparseUpdateOfKohyasAdapterHasTheGlobalScaling([Values("flora", "flexlora", "ffa-lora", "hetlora")] string rule)
    {
        using MemoryModel global = Kohya(2, 8), trained = Kohya(2, 8, up: 3);
        using MemorySink sparse = new(), dense = new();
        var client = new FedIcuClient();
        client.CreateUpdate(global, trained, sparse);
        client.CreateUpdate(global, trained, dense, dense: true);
        Assert.That(sparse.Model.Tensors.Select(tensor => tensor.Name), Has.None.EqualTo("m.alpha"), "the alpha is packed");
        Run(rule, global, [ClientUpdate.FromTensors("a", sparse.Model, 1)], null, out MemorySink found);
        Run(rule, global, [ClientUpdate.FromTensors("a", dense.Model, 1)], null, out MemorySink expected);
        Models.AssertSameBits(found, expected);
    }

    [Test]
    public void TwoAdaptersOfOneModuleAreReportedSeparately([Values("flora", "hetlora")] string rule)
    {
        using MemoryModel global = TwoAdapters(0), client = TwoAdapters(1);
        RoundReport report = Run(
            rule + ",lora", global, [ClientUpdate.FromTensors("a", client, 1)], new RoundOptions { Statistics = true },
            out MemorySink sink);
        sink.Dispose();
        Assert.That(report.LoraPairs.Select(pair => pair.CrossTerm), Is.EqualTo(new double[] { 0, 0 }).Within(1e-12));
    }

    [Test]
    public void AnAlphaPatternThatCannotBeReadIsRefused([Values("flora", "flexlora", "hetlora")] string rule)
    {
        using MemoryModel global = Bare(1, """, "alpha_pattern": {"(": 3}"""), client = Bare(2, "");
        Assert.That(
            () => Run(rule, global, [ClientUpdate.FromTensors("a", client, 1)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contain("states no alpha of 'm' that can be read"));
    }

    [Test]
    public void AnAlphaThatItsTypeCannotHoldIsRefused()
    {
        using MemoryModel global = Kohya(129, 129, alphaType: DType.BF16), client = Kohya(128, 128, alphaType: DType.BF16);
        ClientUpdate[] updates = [ClientUpdate.FromTensors("a", global, 1), ClientUpdate.FromTensors("b", client, 1)];
        Assert.That(() => Run("flora", global, updates), Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
            "'flora' would write 257 to 'm.alpha', whose type BF16 cannot hold it; a type that holds it was expected."));
    }

    [Test]
    public void AnAlphaOfATypeThatIsNotReadIsRefused()
    {
        using MemoryModel global = Kohya(2, 4, alphaType: DType.I16);
        Assert.That(
            () => Run("flora,lora", global, [ClientUpdate.FromTensors("a", global, 1)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contain("has the type I16, which is not read as a number"));
    }

    [Test]
    public void FlexLoraReplacesAGlobalRankAboveTheWeightsSides()
    {
        double[] a = [.. Enumerable.Range(0, 20).Select(i => i % 7 - 3.0)], b = [.. Enumerable.Range(0, 15).Select(i => i % 4 - 1.0)];
        LoraClient stacked = new(a, b, 5, 1) { Inputs = 4 };
        LoraResult result = LoraClient.Run("flexlora", [new(a[..8], b[..6], 2, 1) { Inputs = 4 }], stacked);
        Assert.That(result.Rank, Is.EqualTo(3), "the weight has three outputs");
        Assert.That(result.Report.LoraPairs[0].RelativeError, Is.LessThan(1e-12));
    }

    [Test]
    public void StagesThatScaleUpdatesNeedEqualRanks()
    {
        using MemoryModel global = Kohya(2, 8), client = Kohya(1, 8);
        var late = new ClientStatements { Staleness = 1 };
        Assert.That(
            () => Run("fedbuff,flora", global, [ClientUpdate.FromTensors("a", client, 1, statements: late)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "'fedbuff' before 'flora' needs equal ranks; Client 'a' has rank 1 in 'm', the global model 2."));
    }

    [Test]
    public void ANumberOfGramPairsAboveAnIntIsRefused() =>
        Assert.That(() => FedICU.Compute.GramPairs.Count(65_536), Throws.TypeOf<OverflowException>());

    [Test]
    public void ErrorsOfLongStacksAreNotComputed()
    {
        // the inner products of 464 blocks of 100 rows do not fit an array
        double[] ones = [.. Enumerable.Repeat(1.0, 100 * 100)];
        using var model = new MemoryModel { { "m.lora_A.weight", [100, 100], ones }, { "m.lora_B.weight", [100, 100], ones } };
        RoundReport report = Run(
            "fedex-lora", model, [.. Enumerable.Range(0, 463).Select(k => ClientUpdate.FromTensors($"{k:D3}", model, 1))], null,
            out MemorySink sink);
        Models.AssertSameBits(sink, Copy(model));
        Assert.That(report.LoraPairs.Single().Error, Is.Null);
    }

    [Test]
    public void FiguresOfStackedFactorsGoByTheClientsRanks()
    {
        using MemoryModel global = Kohya(1, 1), client = Kohya(130, 130);
        ClientUpdate[] updates = [ClientUpdate.FromTensors("a", client, 1), ClientUpdate.FromTensors("b", client, 1)];
        RoundReport report = Run("flora", global, updates, new RoundOptions { Statistics = true }, out MemorySink sink);
        sink.Dispose();
        Assert.That(report.LoraPairs.Single().EffectiveRank, Is.EqualTo(1).Within(1e-6));
    }

    [Test]
    public void APairThatCannotBeBalancedIsNoted()
    {
        using MemoryModel global = Kohya(1, 1), client = Kohya(1, 1, up: 1e200);
        RoundReport report = Run("flora,balance", global, [ClientUpdate.FromTensors("a", client, 1)], null, out MemorySink sink);
        sink.Dispose();
        Assert.That(report.Notes, Has.One.EqualTo(
            "The factors of 'm' were not balanced: their inner products are too large for float64."));
    }

    [Test]
    public void OnlyTheFactorOfAnotherShapeIsNamed()
    {
        using MemoryModel global = BFirst(4), client = BFirst(5);
        Assert.That(
            () => Run("flora,lora", global, [ClientUpdate.FromTensors("a", client, 1)]),
            Throws.TypeOf<RoundRejectedException>().With.Message.Contain("'m.lora_A.weight' has the shape [1, 5]; [1, 4] was expected"));
    }

    [Test]
    public void AFolderWithoutAConfigurationIsNoted()
    {
        using MemoryModel global = Bare(1), client = Bare(2, "");
        var round = new AggregationRound(global, new RoundOptions { Statistics = true }) { ClientUpdate.FromTensors("a", client, 1) };
        RoundReport report = StrategyRegistry.Default.Create("flora", []).Aggregator
            .AggregateAsync(round, TensorSink.To(Folder["next"], global)).GetAwaiter().GetResult().Report;
        Assert.That(report.Notes, Has.Some.StartsWith("The new adapter has r 2 and lora_alpha 2, and the output holds no configuration"));
        Assert.That(report.Notes, Has.None.Contains("form no product"));
    }

    private static MemoryModel Kohya(
        int rank, double alpha, double up = 1, int alphas = 1, bool withA = true, DType? alphaType = null)
    {
        var model = new MemoryModel();
        if (withA)
            model.Add("m.lora_down.weight", [rank, 2], Enumerable.Repeat(1.0, rank * 2).ToArray());
        model.Add("m.lora_up.weight", [2, rank], Enumerable.Repeat(up, rank * 2).ToArray());
        long[] shape = alphas == 1 ? [] : [alphas];
        if (alphaType == DType.I16)
        {
            model.Add("m.alpha", shape, new[] { (short)alpha });
        }
        else
        {
            (TensorInfo info, byte[] bytes) = Models.Tensor("m.alpha", alphaType ?? DType.F32, shape, _ => alpha);
            model.Add(info, bytes);
        }

        return model;
    }

    /// <summary>Creates an adapter of one pair, with a configuration if fields of it are given.</summary>
    private static MemoryModel Bare(int rank, string? fields = null)
    {
        string text = $$"""{"peft_type": "LORA", "r": {{rank}}, "lora_alpha": 4, "target_modules": ["m"]{{fields}}}""";
        PeftAdapterConfig? config = fields is null ? null : PeftAdapterConfig.Parse(System.Text.Encoding.UTF8.GetBytes(text), "config");
        return new(config, null)
        {
            { "m.lora_A.weight", [rank, 2], Enumerable.Repeat(1.0, rank * 2).ToArray() },
            { "m.lora_B.weight", [2, rank], Enumerable.Repeat(2.0, rank * 2).ToArray() },
        };
    }

    private static MemoryModel BFirst(int inputs) => new()
    {
        { "m.lora_B.weight", [3, 1], new double[3] }, { "m.lora_A.weight", [1, inputs], new double[inputs] },
    };

    private static MemoryModel TwoAdapters(double value)
    {
        var model = new MemoryModel();
        foreach (string adapter in (string[])["default", "other"])
        {
            model.Add($"q.lora_A.{adapter}.weight", [1, 2], new[] { value, 1 });
            model.Add($"q.lora_B.{adapter}.weight", [2, 1], new[] { 1, value });
        }

        return model;
    }

    private static MemorySink Copy(MemoryModel model)
    {
        var sink = new MemorySink();
        model.SaveTo(sink);
        return sink;
    }

    private static void Run(string rule, MemoryModel global, ClientUpdate[] updates)
    {
        Run(rule, global, updates, null, out MemorySink sink);
        sink.Dispose();
    }

    /// <summary>Runs a round; a rule that ends with ",lora" gets a scaling for adapters that state none.</summary>
    private static RoundReport Run(string rule, MemoryModel global, ClientUpdate[] updates, RoundOptions? options, out MemorySink sink)
    {
        string name = rule.Replace(",lora", "", StringComparison.Ordinal);
        KeyValuePair<string, string>[] settings = name == rule ? [] : [KeyValuePair.Create("lora-scaling", "2")];
        (RoundReport report, sink) = Models.Run(StrategyRegistry.Default.Create(name, settings).Aggregator, global, updates, options);
        return report;
    }
}
