using FedICU.Strategies.ServerSteps;

namespace FedICU.Registry;

/// <summary>The library's server optimizers, and rules for unequal work of the clients.</summary>
internal static class ServerStrategies
{
    public static IReadOnlyList<StrategyDescription> All { get; } =
    [
        new("fedavgm", "Momentum as a step of the server, with a state.", "Hsu et al. 2019", reader =>
        {
            var defaults = new FedAvgMOptions();
            var options = new FedAvgMOptions
            {
                Momentum = reader.Number("momentum", defaults.Momentum, "The momentum beta, in [0, 1)."),
                ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Nesterov = reader.Flag("nesterov", defaults.Nesterov, "Whether the step is D + beta m in place of m."),
                Form = reader.Choice(
                    "momentum-form", defaults.Form, "How an update is added to m: beta m + D, or beta m + (1 - beta) D.",
                    ("sum", MomentumForm.Sum), ("ema", MomentumForm.Ema)),
            };
            return () => [new FedAvgM(options)];
        }),
        new("fedadagrad", "Adagrad as a step of the server, with a state.", "Reddi et al. 2021", reader =>
        {
            var defaults = new FedAdagradOptions();
            var options = new FedAdagradOptions
            {
                ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Beta1 = ReadBeta1(reader, defaults.Beta1),
                Tau = ReadTau(reader, defaults.Tau),
                InitialSecondMoment = ReadInitial(reader),
            };
            return () => [new FedAdagrad(options)];
        }),
        new("fedadam", "Adam as a step of the server, with a state.", "Reddi et al. 2021", reader =>
        {
            var defaults = new FedAdamOptions();
            var options = new FedAdamOptions
            {
                ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Beta1 = ReadBeta1(reader, defaults.Beta1),
                Beta2 = ReadBeta2(reader, defaults.Beta2),
                Tau = ReadTau(reader, defaults.Tau),
                InitialSecondMoment = ReadInitial(reader),
                BiasCorrection = ReadCorrection(reader),
            };
            return () => [new FedAdam(options)];
        }),
        new("fedyogi", "Yogi as a step of the server, with a state.", "Reddi et al. 2021", reader =>
        {
            var defaults = new FedYogiOptions();
            var options = new FedYogiOptions
            {
                ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Beta1 = ReadBeta1(reader, defaults.Beta1),
                Beta2 = ReadBeta2(reader, defaults.Beta2),
                Tau = ReadTau(reader, defaults.Tau),
                InitialSecondMoment = ReadInitial(reader),
                BiasCorrection = ReadCorrection(reader),
            };
            return () => [new FedYogi(options)];
        }),
        new("fednova", "Divides updates by what their local steps add up to.", "Wang et al. 2020", ReadFedNova),
        new("scaffold", "Keeps the server's control variate against drift, with a state.", "Karimireddy et al. 2020", reader =>
        {
            var defaults = new ScaffoldOptions();
            var options = new ScaffoldOptions
            {
                ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Population = ReadPopulation(reader),
                Control = reader.Choice(
                    "control", defaults.Control, "Whether clients send the change of their control variate, or it is derived.",
                    ("sent", ScaffoldControl.Sent), ("derived", ScaffoldControl.Derived)),
                LocalLearningRate = reader.NumberOr("local-lr", null, "none", "The clients' learning rate, for control=derived; above 0."),
                ControlUpdate = reader.Choice(
                    "control-update", defaults.ControlUpdate, "Whether the changes are divided by the population, or averaged.",
                    ("sum", ControlUpdate.Sum), ("mean", ControlUpdate.Mean)),
                Weighting = LibraryStrategies.ReadWeighting(reader, defaults.Weighting),
            };
            return () => [new MeanWeights("scaffold", options.Weighting), new Scaffold(options)];
        }),
        new("feddyn", "Adds the drift of all rounds before, with a state.", "Acar et al. 2021", reader =>
        {
            var options = new FedDynOptions
            {
                Population = ReadPopulation(reader),
                Weighting = LibraryStrategies.ReadWeighting(reader, new FedDynOptions().Weighting),
            };
            return () => [new MeanWeights("feddyn", options.Weighting), new FedDyn(options)];
        }),
        new("qfedavg", "Lets clients of a larger loss count more.", "Li et al. 2020", reader =>
        {
            var defaults = new QFedAvgOptions();
            var options = new QFedAvgOptions
            {
                Q = reader.Number("q", defaults.Q, "How much more clients of a large loss count, at least 0; 0: not at all."),
                LocalLearningRate = reader.Number("local-lr", defaults.LocalLearningRate, "The clients' learning rate, above 0."),
                LossEpsilon = reader.Number("loss-eps", defaults.LossEpsilon, "Added to every loss, at least 0."),
                Weighting = LibraryStrategies.ReadWeighting(reader, defaults.Weighting),
            };
            return () => [new QFedAvg(options)];
        }),
        new("fedbuff", "Lets late updates count less.", "Nguyen et al. 2022", reader =>
        {
            var defaults = new FedBuffOptions();
            var options = new FedBuffOptions
            {
                ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
                Staleness = reader.Choice(
                    "staleness", defaults.Staleness, "How much an update that is tau rounds late counts.",
                    ("polynomial", StalenessRule.Polynomial), ("hinge", StalenessRule.Hinge), ("constant", StalenessRule.Constant)),
                A = reader.Number("staleness-a", defaults.A, "a of polynomial, (1 + tau)^-a, and of hinge, 1 / (a (tau - b) + 1)."),
                B = reader.Number("staleness-b", defaults.B, "b of hinge: up to b rounds late, an update counts in full."),
                Normalization = reader.Choice(
                    "normalize", defaults.Normalization, "What the sum is divided by: the clients' weights without or with staleness.",
                    ("count", FedBuffNormalization.Count), ("weights", FedBuffNormalization.Weights)),
                Weighting = LibraryStrategies.ReadWeighting(reader, defaults.Weighting),
            };
            reader.RefuseUnused("staleness-a", options.Staleness != StalenessRule.Constant, "with staleness=constant");
            reader.RefuseUnused("staleness-b", options.Staleness == StalenessRule.Hinge, "without staleness=hinge");
            return () => [new FedBuff(options)];
        }),
    ];

    private static Func<IReadOnlyList<Stage>> ReadFedNova(OptionReader reader)
    {
        var defaults = new FedNovaOptions();
        string steps = reader.Text(
            "tau-eff", "mean, steps, number", "mean", "The local steps that the mean update is worth.") ?? "mean";
        var options = new FedNovaOptions
        {
            ServerLearningRate = RobustStrategies.ReadServerLearningRate(reader, defaults.ServerLearningRate),
            LocalMomentum = reader.Number("local-momentum", defaults.LocalMomentum, "The clients' momentum, in [0, 1)."),
            LocalProx = reader.Number("local-prox", defaults.LocalProx, "The clients' learning rate times mu, in [0, 1)."),
            EffectiveSteps = steps == "steps" ? EffectiveSteps.Steps : EffectiveSteps.Mean,
            GivenSteps = steps is "steps" or "mean" ? null : reader.ParseNumber("tau-eff", steps, 1, "mean, steps or a number"),
            Weighting = LibraryStrategies.ReadWeighting(reader, defaults.Weighting),
        };
        return () => [new FedNova(options)];
    }

    private static long? ReadPopulation(OptionReader reader) => reader.CountOr(
        "population", null, "auto", "The number of all clients; auto: those of the round.");

    private static double ReadBeta1(OptionReader reader, double defaultValue) =>
        reader.Number("beta1", defaultValue, "The decay of the first moment m, in [0, 1).");

    private static double ReadBeta2(OptionReader reader, double defaultValue) =>
        reader.Number("beta2", defaultValue, "The decay of the second moment v, in [0, 1).");

    private static double ReadTau(OptionReader reader, double defaultValue) =>
        reader.Number("tau", defaultValue, "Added to the root of v, above 0.");

    private static double? ReadInitial(OptionReader reader) =>
        reader.NumberOr("v-init", null, "tau2", "v before the first round, at least 0; tau2: tau^2.");

    private static BiasCorrection ReadCorrection(OptionReader reader) => reader.Choice(
        "bias-correction", BiasCorrection.None, "How the moments' start at 0 is corrected.",
        ("none", BiasCorrection.None), ("folded", BiasCorrection.Folded), ("torch", BiasCorrection.Torch),
        ("flower", BiasCorrection.Flower));
}
