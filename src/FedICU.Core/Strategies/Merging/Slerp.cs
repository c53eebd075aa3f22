using FedICU.Panels;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Spherical interpolation of two clients' tensors a and b: (sin((1-t) th) a + sin(t th) b) / sin th, where th is the
/// angle between them.
/// </summary>
/// <remarks>
/// Shoemake: "Animating Rotation with Quaternion Curves", SIGGRAPH 1985. The client whose id comes first is a. Tensors
/// that are nearly parallel, or nearly 0, are interpolated on the line: (1-t) a + t b.
/// </remarks>
public sealed class Slerp : MergeRule
{
    // the largest norm, and the largest sine of an angle, that count as 0
    private const double Small = 1e-12;

    /// <summary>Creates the merge.</summary>
    /// <param name="options">The options; null for the defaults.</param>
    /// <exception cref="InvalidOptionsException">The options break their rules.</exception>
    public Slerp(SlerpOptions? options = null)
    {
        Options = options ?? new SlerpOptions();
        Options.Validate();
    }

    /// <summary>Gets the options.</summary>
    public SlerpOptions Options { get; }

    /// <inheritdoc/>
    public override string Name => "slerp";

    /// <inheritdoc/>
    public override void Check(RoundPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        if (plan.Clients.Count != 2)
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(Name)} interpolates two clients, and {Sentence.Count(plan.Clients.Count, "client")} of a weight " +
                $"above 0 {Sentence.Form(plan.Clients.Count, "takes", "take")} part; exactly two were expected.");
        }
    }

    /// <inheritdoc/>
    public override void Merge(TensorContext tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        // the squared norms of both, and their products with b
        double[] sums = new double[4];
        tensor.AddProductsWithLast(Options.Target, sums);
        if (!Array.TrueForAll(sums, double.IsFinite))
            throw new NonFiniteOutputException(tensor.Info, "its norms are not finite, from finite inputs: they are too large.");
        double first = Math.Sqrt(sums[0]), second = Math.Sqrt(sums[1]), cosine = sums[2] / (first * second);
        double t = Options.T ?? tensor.Clients[1].MergeWeight / (tensor.Clients[0].MergeWeight + tensor.Clients[1].MergeWeight);
        bool isLine = first <= Small || second <= Small || Math.Abs(cosine) > Options.LerpAbove;
        double angle = isLine ? 0 : Math.Acos(cosine), sine = Math.Sin(angle);
        double[] weights = sine <= Small ? [1 - t, t] : [Math.Sin((1 - t) * angle) / sine, Math.Sin(t * angle) / sine];
        tensor.ReportWeight(0, weights[0]);
        tensor.ReportWeight(1, weights[1]);
        if (Options.Target == UpdateForm.Parameters)
            tensor.WeightedSum(weights, 1);
        else
            tensor.AddUpdates(weights);
    }
}
