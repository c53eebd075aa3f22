using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds;

/// <summary>What is merged at once: a tensor, or the two factors of a LoRA pair whose stages see both.</summary>
/// <param name="Tensors">The numbers of the tensors in the global model: one, or those of a pair.</param>
/// <param name="Pair">The pair; null for a tensor.</param>
internal sealed record RoundUnit(int[] Tensors, LoraPair? Pair)
{
    /// <summary>Lists the units of a model, each at the place of its first tensor.</summary>
    /// <param name="tensors">The model's tensors.</param>
    /// <param name="pairs">The pairs that are units.</param>
    /// <param name="withAlphas">Whether the alpha tensor of a pair belongs to its unit.</param>
    public static List<RoundUnit> List(IReadOnlyList<TensorInfo> tensors, IEnumerable<LoraPair> pairs, bool withAlphas = false)
    {
        var pairOf = new Dictionary<string, LoraPair>(StringComparer.Ordinal);
        foreach (LoraPair pair in pairs)
        {
            (pairOf[pair.A.Name], pairOf[pair.B.Name]) = (pair, pair);
            if (withAlphas && pair.Alpha is not null)
                pairOf[pair.Alpha.Name] = pair;
        }

        var first = new Dictionary<LoraPair, int>(ReferenceEqualityComparer.Instance);
        var units = new List<RoundUnit>(tensors.Count);
        for (int i = 0; i < tensors.Count; i++)
        {
            if (!pairOf.TryGetValue(tensors[i].Name, out LoraPair? pair))
            {
                units.Add(new RoundUnit([i], null));
            }
            else if (first.TryGetValue(pair, out int unit))
            {
                units[unit] = new RoundUnit([.. units[unit].Tensors, i], pair);
            }
            else
            {
                first.Add(pair, units.Count);
                units.Add(new RoundUnit([i], pair));
            }
        }

        return units;
    }
}
