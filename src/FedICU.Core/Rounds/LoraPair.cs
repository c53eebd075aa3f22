namespace FedICU;

/// <summary>LoRA's factors by their names: A [rank, inputs] and B [outputs, rank], whose product B A is what they add to a matrix.</summary>
internal readonly record struct LoraPair(string Module, TensorInfo A, TensorInfo B)
{
    private static readonly (string A, string B)[] Factors = [(".lora_A", ".lora_B"), (".lora_embedding_A", ".lora_embedding_B")];

    public long Rank => A.Shape.Dimensions[0];

    /// <summary>All pairs, in the order of the factors A.</summary>
    public static List<LoraPair> Find(IReadOnlyList<TensorInfo> tensors)
    {
        var byName = tensors.ToDictionary(tensor => tensor.Name, StringComparer.Ordinal);
        var pairs = new List<LoraPair>();
        foreach (TensorInfo a in tensors)
        {
            foreach ((string nameOfA, string nameOfB) in Factors)
            {
                int at = a.Name.LastIndexOf(nameOfA, StringComparison.Ordinal);
                if (at >= 0 && byName.TryGetValue(a.Name[..at] + nameOfB + a.Name[(at + nameOfA.Length)..], out TensorInfo? b) &&
                    a.Shape.Rank == 2 && b.Shape.Rank == 2 && b.Shape.Dimensions[1] == a.Shape.Dimensions[0])
                {
                    pairs.Add(new LoraPair(a.Name[..at], a, b));
                    break;
                }
            }
        }

        return pairs;
    }
}
