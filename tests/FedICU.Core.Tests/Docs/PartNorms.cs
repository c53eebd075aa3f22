using FedICU;

namespace MyFederation;

/// <summary>The squared norm of each client's update, over the tensors whose names have a prefix.</summary>
public sealed class PartNorms(string prefix) : RoundStatistic
{
    // unique among the statistics of a round: stages that name the same one share its numbers
    public override string Name => $"part-norms {prefix}";

    public override int Count(int clients) => clients;

    public override bool Measures(TensorInfo tensor) => tensor.Name.StartsWith(prefix, StringComparison.Ordinal);

    // called for several tensors at once, each with sums of its own; the round adds them in the model's order
    public override void Measure(TensorContext tensor, Span<double> sums) => tensor.AddSquaredNorms(sums);
}
