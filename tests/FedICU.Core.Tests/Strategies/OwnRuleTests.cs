namespace FedICU.Tests;

/// <summary>Errors of a user's own strategy say that the strategy is at fault.</summary>
internal sealed class OwnRuleTests
{
    [Test]
    public void WrongWeightsAndDivisorsAreRefused()
    {
        Wrong(tensor => tensor.WeightedSum([1, 1], 0), "weights that sum to 0",
            "The divisor is 0; a finite number other than 0 was expected. (Parameter 'divisor')");
        Wrong(tensor => tensor.WeightedSum([1, 1], double.NaN), "NaN",
            "The divisor is NaN; a finite number other than 0 was expected. (Parameter 'divisor')");
        Wrong(tensor => tensor.WeightedSum([1, double.NaN], 1), "NaN",
            "The weight of client 'b' is NaN; a finite number was expected. (Parameter 'weights')");
        Wrong(tensor => tensor.WeightedSum([1], 1), "too few",
            "There is 1 weight for 2 clients; one for each was expected. (Parameter 'weights')");
        Wrong(tensor => tensor.WeightedSum([1, 1, 1], 1), "too many",
            "There are 3 weights for 2 clients; one for each was expected. (Parameter 'weights')");

        static void Wrong(Action<TensorContext> rule, string why, string message) =>
            Assert.That(() => Run(rule), Throws.TypeOf<ArgumentException>().With.Message.EqualTo(message), why);
    }

    [TestCase(2), TestCase(9), TestCase(-1)]
    public void AWeightIsReportedForAnExistingClientOnly(int client) => Assert.That(
        () => Run(tensor => tensor.ReportWeight(client, 1)),
        Throws.TypeOf<ArgumentOutOfRangeException>().With.Message.StartsWith(
            "There is no client with this index; an index from 0 to 1 was expected."));

    [Test]
    public void AResultThatIsNotFiniteIsTheRulesFault([Values] UpdateForm form, [Values(double.NaN, double.NegativeInfinity)] double result)
    {
        string elements = form == UpdateForm.Parameters ? "2 elements" : "1 element";
        Assert.That(() => Run(tensor => tensor.ForEachElement(form, values => values[0] > 1 ? result : 0)),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                $"Tensor 'w': the rule's result is NaN or infinite for {elements} of finite values."));
        // a client's fault is reported first
        Assert.That(() => Run(tensor => tensor.ForEachElement(form, _ => result), float.NaN),
            Throws.TypeOf<RoundRejectedException>().With.Message.StartsWith("Client 'b': tensor 'w' has 1 value that is NaN"));
        Assert.That(() => Run(tensor => tensor.ForEachElement(form, _ => 1e300)),
            Throws.TypeOf<RoundRejectedException>().With.Message.EqualTo(
                "Tensor 'w': 3 results are not finite, from finite inputs; they do not fit F32."));
    }

    [Test]
    public void TwoClientsHaveEqualWeights()
    {
        for (int seed = 0; seed < 20; seed++)
        {
            (RoundReport report, MemorySink sink) = Models.Run(new FedIcuAggregator(), Models.Random(seed),
                [Client("a", Models.Random(seed + 100)), Client("b", Models.Random(seed + 200))]);
            sink.Dispose();
            foreach (TensorReport tensor in report.Tensors)
                Assert.That(tensor.Clients.Select(client => client.Weight), Is.All.EqualTo(.5), $"{seed}: {tensor.Name}");
        }
    }

    [Test]
    public void AZeroAddressIsRefused()
    {
        var model = new MemoryModel { { new TensorInfo("empty", DType.BF16, new TensorShape(0, 3)), 0 } };
        Assert.That(() => model.Add(new TensorInfo("w", DType.BF16, new TensorShape(2)), 0),
            Throws.TypeOf<ArgumentNullException>().With.Message.EqualTo(
                "Tensor 'w' of BF16 [2] has the address 0; that of 4 bytes was expected. (Parameter 'data')"));
    }

    private static void Run(Action<TensorContext> rule, float value = 5) => Models.Run(
        new StageAggregator(new Own(rule)), Models.Of("w", [3], 1, 2, 3),
        [Client("a", Models.Of("w", [3], 1, 2, 5)), Client("b", Models.Of("w", [3], value, 5, 5))]).Sink.Dispose();

    private static ClientUpdate Client(string id, MemoryModel model) => ClientUpdate.FromTensors(id, model, 1);

    private sealed class Own(Action<TensorContext> rule) : MergeRule
    {
        public override string Name => "own";

        public override void Merge(TensorContext tensor) => rule(tensor);
    }
}
