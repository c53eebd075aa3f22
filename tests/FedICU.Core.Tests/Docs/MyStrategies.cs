using FedICU;

namespace MyFederation;

/// <summary>The names of this project's stages.</summary>
public static class MyStrategies
{
    public static void AddTo(StrategyRegistry registry)
    {
        registry.Add(new StrategyDescription("norm-limit", "Limits the norm of each update.", "", reader =>
        {
            double limit = reader.Number("limit", 1, "The largest norm of an update, above 0.");
            return () => [new NormLimit(limit)];
        }));
        registry.Add(new StrategyDescription(
            "agreeing-mean", "The mean of the updates that agree in sign.", "", _ => () => [new AgreeingMean()]));
        registry.Add(new StrategyDescription("server-momentum", "A momentum of the server, with a state.", "", reader =>
        {
            double beta = reader.Number("beta", 0.9, "The decay of the momentum, in [0, 1).");
            return () => [new ServerMomentum(beta)];
        }));
    }
}
