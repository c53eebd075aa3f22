using FedICU.Compute;
using FedICU.Panels;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;

namespace FedICU;

/// <summary>
/// FedEx-LoRA's merge writes the means A' and B' of the factors, and adds to the base model what these means lose: s
/// (sum_k w_k B_k A_k - B' A') = sum_k w_k s (B_k - B') (A_k - A').
/// </summary>
/// <remarks>
/// Singhal, Ponkshe, Vepakomma: "FedEx-LoRA: Exact Aggregation for Federated and Efficient Fine-Tuning of Foundation
/// Models", ACL 2025. The residual goes to a base model, or to an adapter of its own; without either it is reported.
/// </remarks>
/// <param name="options">The options; null for the defaults.</param>
public sealed class FedExLora(FedExLoraOptions? options = null) : PairMerge
{
    /// <inheritdoc/>
    public override string Name => "fedex-lora";

    /// <summary>Gets the options.</summary>
    public FedExLoraOptions Options { get; } = FedExLoraOptions.Checked(options);

    internal override double? LoraScaling => Options.LoraScaling;

    internal override bool MixesRanks => false;

    internal override bool NeedsScaling => Options.Base is not null || Options.ResidualOutput is not null;

    internal override IReadOnlyList<(string Option, string Path)> InputsBeside => List(("base", Options.Base));

    internal override IReadOnlyList<(string Option, string Path)> OutputsBeside =>
        List(("base-output", Options.BaseOutput), ("residual-output", Options.ResidualOutput));

    internal override PairOutputs? OpenOutputs(PairRound round, RoundPlan plan, Workers workers) => NeedsScaling
        ? new ResidualOutputs(round, plan, workers, Options.Base, Options.BaseOutput, Options.ResidualOutput)
        : null;

    internal override unsafe void Merge(PairContext pair)
    {
        pair.WriteMeanOfA();
        pair.WriteMeanOfB();
        // the products are computed to report an error, or to write what the means lose
        bool reports = pair.StackedRank <= LoraCrossTerms.MaximumStackedRank;
        if (!reports && pair.Outputs is null)
            return;
        int rank = (int)pair.Pair.Rank, count = pair.StackedRank, all = rank + count;
        (long inputs, long outputs) = (pair.Pair.Inputs, pair.Pair.Outputs);
        double scaling = double.IsFinite(pair.Written.Scaling) ? pair.Written.Scaling : 1;
        // the means first, then each client's difference: W is the sum of both products
        double* a = pair.Take(all * inputs), b = pair.Take(all * outputs);
        for (int k = 0; k < pair.Clients; k++)
        {
            pair.ReadA(k, 1, a + (k + 1) * rank * inputs);
            pair.ReadColumnsOfB(k, 1, b + (k + 1) * rank * outputs);
        }

        Center(pair, a, rank * inputs);
        Center(pair, b, rank * outputs);
        for (int k = -1; k < pair.Clients; k++)
        {
            double* block = a + (k + 1) * rank * inputs;
            pair.Combine([new TensorPanel(block, DType.F64)], [(k < 0 ? 1 : pair.Weights[k]) * scaling], rank * inputs, block);
        }

        (pair.Outputs as ResidualOutputs)?.Write(pair, a + rank * inputs, b + rank * outputs, count);
        if (!reports)
            return;
        double[] ofA = pair.ComputeGram(a, all, inputs), ofB = pair.ComputeGram(b, all, outputs);
        double norm = 0, residual = 0;
        for (int i = 0; i < all; i++)
        {
            for (int j = 0; j < all; j++)
            {
                double term = ofA[i * all + j] * ofB[i * all + j];
                norm += term;
                residual += i >= rank && j >= rank ? term : 0;
            }
        }

        if (!double.IsFinite(norm))
            throw pair.TooLarge();
        pair.ReportError(Math.Sqrt(Math.Max(residual, 0)), Math.Sqrt(Math.Max(norm, 0)));
    }

    private static List<(string Option, string Path)> List(params (string Option, string? Path)[] paths) =>
        [.. paths.Where(given => given.Path is not null).Select(given => (given.Option, given.Path!))];

    /// <summary>Computes the clients' weighted mean into the first block, and subtracts it from the others.</summary>
    private static unsafe void Center(PairContext pair, double* blocks, long length)
    {
        pair.Combine(
            [.. Enumerable.Range(1, pair.Clients).Select(k => new TensorPanel(blocks + k * length, DType.F64))], [.. pair.Weights], length,
            blocks);
        for (int k = 1; k <= pair.Clients; k++)
        {
            var own = new TensorPanel(blocks + k * length, DType.F64);
            pair.Combine([own, new TensorPanel(blocks, DType.F64)], [1, -1], length, blocks + k * length);
        }
    }
}
