using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>
/// FFA-LoRA's merge: clients train B alone, so that the mean of B is exact. A stays the global model's, bit for bit; B
/// is sum_k w_k B_k.
/// </summary>
/// <remarks>
/// Sun, Li, Li, Ding: "Improving LoRA in Privacy-preserving Federated Learning", ICLR 2024. A client whose A differs
/// is a fault of its statement (<see cref="RoundOptions.OnStatement"/>).
/// </remarks>
public sealed class FfaLora : PairMerge
{
    /// <inheritdoc/>
    public override string Name => "ffa-lora";

    internal override bool MixesRanks => false;

    internal override bool NeedsScaling => false;

    internal override bool FreezesA => true;

    internal override void Merge(PairContext pair)
    {
        pair.CopyGlobalA();
        pair.WriteMeanOfB();
    }
}
