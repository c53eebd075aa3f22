using FedICU;

namespace OwnStrategy;

/// <summary>
/// Names the strategies and reads their options, for <c>fedicu --plugin OwnStrategy.dll</c> and for hosts.
/// </summary>
public sealed class OwnStrategies : IStrategyPlugin
{
    public static StrategyDescription Cauchy { get; } = new(
        "cauchy", "Clients whose updates are much longer than the others' count less.", "Holland and Welsch 1977", reader =>
        {
            double c = reader.Number("c", 2.385, "The length that counts half, in median lengths.");
            return () => [new Cauchy(c)];
        });

    public static StrategyDescription AgreeingMean { get; } = new(
        "agreeing-mean", "The mean of the updates that agree in sign, element by element.", "Yadav et al. 2023", reader =>
        {
            double agreement = reader.Number("agreement", 0.5, "The share of the weights that must agree, from 0 to below 1.");
            return () => [new AgreeingMean(agreement)];
        });

    public static StrategyDescription HeavyBall { get; } = new(
        "heavy-ball", "Momentum as a step of the server, with a state.", "Polyak 1964", reader =>
        {
            double rate = reader.Number("lr", 1, "The server's learning rate."), beta = reader.Number("beta", 0.9, "The decay of m.");
            return () => [new HeavyBall(rate, beta)];
        });

    public void Register(StrategyRegistry registry)
    {
        foreach (StrategyDescription strategy in (ReadOnlySpan<StrategyDescription>)[Cauchy, AgreeingMean, HeavyBall])
            registry.Add(strategy);
    }
}
