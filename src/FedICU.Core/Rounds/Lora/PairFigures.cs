using FedICU.Compute;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.Lora;

/// <summary>What the report says about a merged pair.</summary>
internal static class PairFigures
{
    /// <summary>Describes a pair after its merge.</summary>
    /// <param name="pair">The pair.</param>
    /// <param name="a">The written A.</param>
    /// <param name="b">The written B.</param>
    /// <param name="statistics">Whether figures that need further passes are computed.</param>
    public static LoraPairReport Describe(PairContext pair, TensorPanel a, TensorPanel b, bool statistics)
    {
        _ = (a, b, statistics);
        return new LoraPairReport(pair.Pair.Module, double.NaN)
        {
            Rank = pair.Written.Rank,
            Scaling = double.IsFinite(pair.Written.Scaling) ? pair.Written.Scaling : null,
            Error = pair.Error?.Error,
            RelativeError = pair.Error?.Relative,
        };
    }
}
