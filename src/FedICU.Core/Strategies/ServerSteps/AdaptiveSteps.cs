using FedICU.Compute;

namespace FedICU.Strategies.ServerSteps;

/// <summary>Applies the steps that have two moments.</summary>
internal static unsafe class AdaptiveSteps
{
    // steps run on the CPU, whatever the merge runs on
    private static readonly SimdBackend Backend = new();

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
