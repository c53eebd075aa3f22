namespace FedICU.Cli.Tests;

/// <summary>A plug-in, so that this assembly can be given as <c>--plugin</c>.</summary>
public sealed class TestPlugin : IStrategyPlugin
{
    public void Register(StrategyRegistry registry)
    {
        registry.Add(new StrategyDescription("test-first", "The parameters of the client that comes first.", "", reader =>
        {
            double factor = reader.Number("factor", 1, "What the parameters are multiplied by.");
            return () => [new First(factor)];
        }));
        registry.Add(new StrategyDescription("test-throwing", "A merge that fails.", "", _ => () => [new Throwing()]));
        registry.Add(new StrategyDescription(
            "test-unreadable", "Options that fail.", "", _ => throw new InvalidOperationException("no options")));
    }

    private sealed class First(double factor) : MergeRule
    {
        public override string Name => "test-first";

        public override void Merge(TensorContext tensor) =>
            tensor.ForEachElement(UpdateForm.Parameters, values => factor * values[0]);
    }

    private sealed class Throwing : MergeRule
    {
        public override string Name => "test-throwing";

        public override void Merge(TensorContext tensor) => throw new InvalidOperationException("no merge");
    }
}
