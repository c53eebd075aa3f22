namespace FedICU.Tests;

/// <summary>A strategy must call exactly one writing verb for each tensor.</summary>
internal sealed class WritingVerbTests
{
    private static readonly MemoryModel Global = Models.Of("w", [2], 1, 2);

    [Test]
    public void AStrategyThatDoesNotWriteIsRefused() => Assert.That(
        () => Models.Run(new StageAggregator(new Rule(_ => { })), Global, [ClientUpdate.FromTensors("a", Global, 1)]),
        Throws.InvalidOperationException.With.Message.EqualTo(
            "Strategy 'own' did not write tensor 'w': one call of a verb that writes the output was expected."));

    [Test]
    public void AStrategyThatWritesTwiceIsRefused() => Assert.That(
        () => Models.Run(new StageAggregator(new Rule(tensor =>
        {
            tensor.WeightedMean();
            tensor.ForEachElement(UpdateForm.Parameters, values => values[0]);
        })), Global, [ClientUpdate.FromTensors("a", Global, 1)]), Throws.InvalidOperationException.With.Message.EqualTo(
            "Strategy 'own' wrote tensor 'w' twice: one call of a verb that writes the output was expected."));

    private sealed class Rule(Action<TensorContext> merge) : MergeRule
    {
        public override string Name => "own";

        public override void Merge(TensorContext tensor) => merge(tensor);
    }
}
