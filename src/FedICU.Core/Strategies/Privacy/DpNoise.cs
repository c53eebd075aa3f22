using FedICU.Compute;

namespace FedICU;

/// <summary>The second part of <see cref="DpFedAvg"/>: adds Gaussian noise to the sum of the clipped updates.</summary>
public sealed class DpNoise : ServerStep
{
    // a tensor's blocks follow each other, and a key takes a hash
    [ThreadStatic]
    private static ((string Tensor, long Seed, long Round) Key, GaussianNoise Noise) last;

    /// <inheritdoc/>
    public override string Name => "dp-fedavg.noise";

    internal override bool IsPart => true;

    internal override string RuleName => "dp-fedavg";

    internal override bool IsPrivate => true;

    internal override bool IsIdle(RoundPlan plan) => plan.GetKept(DpFedAvg.Noise)[0] == 0;

    /// <inheritdoc/>
    public override void Apply(ElementBlock block)
    {
        double deviation = block.Plan.GetKept(DpFedAvg.Noise)[0];
        long seed = BitConverter.DoubleToInt64Bits(block.Plan.GetKept(DpFedAvg.Seed)[0]);
        var key = (block.Tensor.Name, seed, block.Plan.RoundsFinished);
        if (last.Key != key)
            last = (key, new GaussianNoise(seed, block.Tensor.Name, "dp", block.Plan.RoundsFinished));
        last.Noise.AddTo(block.Start, deviation, block.Update);
    }
}
