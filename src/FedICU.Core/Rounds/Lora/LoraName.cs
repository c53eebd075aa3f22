namespace FedICU.Rounds.Lora;

/// <summary>A tensor's name, split into the parts that LoRA's layouts give it.</summary>
/// <param name="Module">The name before the kind.</param>
/// <param name="Kind">
/// The tensor's role in the module: a factor, such as <c>lora_A</c>, or a tensor of a LoRA variant, such as
/// <c>lora_diag</c>.
/// </param>
/// <param name="Rest">The name after the kind: <c>.weight</c>, <c>.default.weight</c> or empty.</param>
internal readonly record struct LoraName(string Module, string Kind, string Rest)
{
    /// <summary>The kind of kohya's scalar beside the factors: s = alpha / r.</summary>
    public const string Alpha = "alpha";

    /// <summary>The kinds of the two factors: in PEFT's modules, in PEFT's embeddings, and in kohya's files.</summary>
    public static readonly (string A, string B)[] Families =
        [("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"), ("lora_down", "lora_up")];

    // kinds that do not begin with lora_
    private static readonly string[] Companions = [Alpha, "dora_scale"];

    /// <summary>Parses a name; null if it is not a name of LoRA.</summary>
    public static LoraName? Parse(string name)
    {
        foreach (string companion in Companions)
        {
            if (name == companion || name.EndsWith("." + companion, StringComparison.Ordinal))
                return SplitAt(name, name.Length - companion.Length);
        }

        if (!name.Contains("lora_", StringComparison.Ordinal))
            return null;
        // kohya's modules have names that begin with lora_, and an adapter may have one: a factor's kind goes before
        // any other
        int factor = -1, any = -1;
        for (int start = 0; start < name.Length; start = FindEnd(name, start) + 1)
        {
            ReadOnlySpan<char> segment = name.AsSpan(start, FindEnd(name, start) - start);
            if (!segment.StartsWith("lora_", StringComparison.Ordinal))
                continue;
            any = start;
            foreach ((string a, string b) in Families)
                factor = segment.SequenceEqual(a) || segment.SequenceEqual(b) ? start : factor;
        }

        return factor >= 0 ? SplitAt(name, factor) : any >= 0 ? SplitAt(name, any) : null;
    }

    /// <summary>
    /// Whether PEFT gives a module's name to target_parameters: to a parameter wrapped within another, or to all
    /// experts of a layer.
    /// </summary>
    public static bool IsOfParameters(string module) =>
        module == "experts" || module.EndsWith(".experts", StringComparison.Ordinal) ||
        module.EndsWith(".base_layer", StringComparison.Ordinal);

    /// <summary>Whether the tensor is a factor and not a bias; the adapter may have a name or none.</summary>
    public bool IsWeight => Rest.Split('.') is [""] or ["", not "bias"] or ["", _, "weight"];

    /// <summary>
    /// Whether the tensor is the bias of B. It is added to B A, so its mean is exact; a bias of A would be multiplied
    /// by B.
    /// </summary>
    public bool IsBiasOfB => Rest.Split('.') is ["", "bias"] or ["", _, "bias"] && Array.Exists(Families, InFamily(Kind));

    private static Predicate<(string A, string B)> InFamily(string kind) => family => family.B == kind;

    private static int FindEnd(string name, int start) => name.IndexOf('.', start) is var dot and >= 0 ? dot : name.Length;

    private static LoraName SplitAt(string name, int start)
    {
        int end = FindEnd(name, start);
        return new(start == 0 ? "" : name[..(start - 1)], name[start..end], name[end..]);
    }
}
