namespace FedICU.Compute;

// Apply: the server's adaptive steps.
public sealed unsafe partial class ReferenceBackend
{
    /// <summary>Applies an adaptive step; returns how many outputs and moments are not finite.</summary>
    internal static long Apply(in AdaptiveStep step, in AdaptivePanels panels, int length)
    {
        long nonFinite = 0;
        for (int i = 0; i < length; i++)
        {
            double x = panels.Global.Data is null ? 0 : At(panels.Global, i);
            double d = panels.Global.Data is null ? At(panels.Merged, i) : At(panels.Merged, i) - x;
            double m = Math.FusedMultiplyAdd(d, 1 - step.Beta1, step.Beta1 * At(panels.M, i));
            double v = At(panels.V, i), square = d * d, change = (1 - step.Beta2) * square;
            v = step.Second switch
            {
                SecondMomentRule.Adam => Math.FusedMultiplyAdd(square, 1 - step.Beta2, step.Beta2 * v),
                SecondMomentRule.Yogi => v + (v < square ? change : 0) - (square < v ? change : 0),
                _ => v + square,
            };
            double u = step.Rate * (m / (Math.Sqrt(step.Scale * v) + step.Tau));
            nonFinite += Put(panels.Output, i, panels.Global.Data is null ? u : x + u) + Put(panels.NextM, i, m) + Put(panels.NextV, i, v);
        }

        return nonFinite;
    }
}
