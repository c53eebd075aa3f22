using FedICU.Compute;
using FedICU.Text;

namespace FedICU.Strategies.ServerSteps;

/// <summary>Applies the steps that have two moments.</summary>
internal static unsafe class AdaptiveSteps
{
    // steps run on the CPU, whatever the merge runs on
    private static readonly SimdBackend Backend = new();

    /// <summary>Returns the slots of the two moments.</summary>
    public static IReadOnlyList<StateSlot> CreateState(double tau, double? initialSecondMoment) =>
        [new StateSlot("m"), new StateSlot("v", initialSecondMoment ?? tau * tau)];

    /// <summary>Computes the learning rate of a round, and the factor of the second moment.</summary>
    public static (double Rate, double ScaleOfV) CorrectBias(
        BiasCorrection correction, double rate, double beta1, double beta2, long roundsFinished)
    {
        double t = correction == BiasCorrection.Flower ? roundsFinished + 2 : roundsFinished + 1;
        double first = 1 - Math.Pow(beta1, t), second = 1 - Math.Pow(beta2, t);
        return correction switch
        {
            BiasCorrection.None => (rate, 1),
            BiasCorrection.Torch => (rate / first, 1 / second),
            _ => (rate * Math.Sqrt(second) / first, 1),
        };
    }

    /// <summary>Refuses a learning rate that the bias correction makes infinite.</summary>
    public static void RequireFinite(string rule, AdaptiveStep step)
    {
        if (!double.IsFinite(step.Rate))
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(rule)}: server-lr after the bias correction is {Numbers.Invariant(step.Rate)}; " +
                "a finite number was expected.");
        }
    }

    /// <summary>Replaces the block's update and its two states.</summary>
    public static void Apply(AdaptiveStep step, ElementBlock block)
    {
        fixed (double* update = block.Update, m = block.State(0), v = block.State(1))
        {
            TensorPanel d = new(update, DType.F64), first = new(m, DType.F64), second = new(v, DType.F64);
            Backend.Apply(step, new AdaptivePanels(d, default, first, second, d, first, second), block.Update.Length);
        }
    }
}
