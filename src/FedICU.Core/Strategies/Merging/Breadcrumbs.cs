using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using FedICU.Panels;
using FedICU.Strategies.Merging;

namespace FedICU;

/// <summary>
/// Breadcrumbs' merge: of each tensor of a client's update the largest and the smallest entries become 0; the rest is
/// added up by the clients' weights.
/// </summary>
/// <remarks>
/// Davari, Belilovsky: "Model Breadcrumbs: Scaling Multi-Task Model Merging with Sparse Masks", 2023. Entries are
/// in the order of (|d|, index).
/// </remarks>
public sealed class Breadcrumbs : MergeRule
{
    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Breadcrumbs(BreadcrumbsOptions? options = null)
    {
        Options = options ?? new BreadcrumbsOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public BreadcrumbsOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "breadcrumbs";

    internal override string? OwnWeighting => MergeWeights.DescribeOwn(Options.Weighting);

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        double[] weights = MergeWeights.Get(tensor, Options.Weighting);
        for (int k = 0; k < weights.Length; k++)
            weights[k] *= Options.Scale;
        (long bottom, long top) = CountDropped(tensor.Info.ElementCount);
        (MagnitudeCut Kept, MagnitudeCut? Dropped)[] cuts = FindCuts(tensor, bottom, top);
        tensor.ForEachBlock(UpdateForm.Delta, block =>
        {
            for (int k = 0; k < cuts.Length; k++)
            {
                double most = double.PositiveInfinity, bound = cuts[k].Kept.FindBound(block.Start, block.Length, out bool splits);
                if (splits)
                    cuts[k].Kept.ClearOthers(block.Start, block[k]);
                if (cuts[k].Dropped is { } dropped)
                {
                    // equal magnitudes that stay are not above it
                    most = dropped.Value;
                    if (dropped.First < block.Start + block.Length)
                        dropped.ClearOwn(block.Start, block[k]);
                }

                Add(block[k], bound, most, weights[k], block.Result);
            }
        });
    }

    /// <summary>Returns how many of a tensor's smallest and of its largest entries become 0.</summary>
    private (long Bottom, long Top) CountDropped(long elements)
    {
        long top = MergeWeights.CountShare(Options.Gamma, elements);
        long bottom = elements - MergeWeights.CountKept(Options.Density, elements) - top;
        return (Math.Max(bottom, 0), top + Math.Min(bottom, 0));
    }

    /// <summary>Finds each client's entries without the smallest, and among them the largest.</summary>
    private static (MagnitudeCut Kept, MagnitudeCut? Dropped)[] FindCuts(TensorContext tensor, long bottom, long top)
    {
        long elements = tensor.Info.ElementCount;
        long[] ranks = [.. new[] { bottom == 0 ? 0 : elements - bottom, top }.Where(rank => rank > 0)];
        MagnitudeCut[][] found = ranks.Length == 0
            ? [.. tensor.Clients.Select(_ => Array.Empty<MagnitudeCut>())]
            : tensor.SelectMagnitudes(lowerFirst: false, ranks);
        return
        [
            .. found.Select(cuts => (bottom == 0 ? MagnitudeCut.From(0) : cuts[0], top == 0 ? (MagnitudeCut?)null : cuts[^1])),
        ];
    }

    /// <summary>Adds the entries whose magnitudes are in (bound, most].</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(Span<double> update, double bound, double most, double weight, Span<double> result)
    {
        Vector512<double> below = Vector512.Create(bound), last = Vector512.Create(most), factor = Vector512.Create(weight);
        ref double values = ref MemoryMarshal.GetReference(update), sums = ref MemoryMarshal.GetReference(result);
        for (nuint i = 0; i < (nuint)update.Length; i += (nuint)Vector512<double>.Count)
        {
            Vector512<double> d = Vector512.LoadUnsafe(ref values, i), magnitude = Vector512.Abs(d);
            Vector512<double> stays = Vector512.GreaterThan(magnitude, below) & Vector512.LessThanOrEqual(magnitude, last);
            d = Vector512.ConditionalSelect(stays, d, Vector512<double>.Zero);
            Vector512.FusedMultiplyAdd(d, factor, Vector512.LoadUnsafe(ref sums, i)).StoreUnsafe(ref sums, i);
        }
    }
}
