namespace FedICU.Rounds.Lora;

/// <summary>What a tensor's name says of its place in LoRA.</summary>
/// <param name="Module">The name up to the kind.</param>
/// <param name="Kind">
/// The part of the module: a factor, such as <c>lora_A</c>, or another tensor that LoRA's variants keep there, such as <c>lora_diag</c>.
/// </param>
/// <param name="Rest">What follows it: <c>.weight</c>, <c>.default.weight</c>, nothing.</param>
internal readonly record struct LoraName(string Module, string Kind, string Rest)
{
    /// <summary>kohya's scalar beside the factors: s = alpha / r.</summary>
    public const string Alpha = "alpha";

    /// <summary>The factors' names: of PEFT's modules and embeddings, and of kohya's files.</summary>
    public static readonly (string A, string B)[] Families =
        [("lora_A", "lora_B"), ("lora_embedding_A", "lora_embedding_B"), ("lora_down", "lora_up")];

    // other tensors of a module whose names do not begin with lora_
    private static readonly string[] Companions = [Alpha, "dora_scale"];

    /// <summary>Understands a name; null where it says nothing of LoRA.</summary>
    public static LoraName? Parse(string name)
    {
        foreach (string companion in Companions)
        {
            if (name == companion || name.EndsWith("." + companion, StringComparison.Ordinal))
                return At(name, name.Length - companion.Length);
        }

        if (!name.Contains("lora_", StringComparison.Ordinal))
            return null;
        // an adapter may be called lora_x, and kohya's modules are: a factor's name decides first
        int place = -1, any = -1;
        for (int start = 0; start < name.Length; start = End(name, start) + 1)
        {
            ReadOnlySpan<char> segment = name.AsSpan(start, End(name, start) - start);
            if (!segment.StartsWith("lora_", StringComparison.Ordinal))
                continue;
            any = start;
            foreach ((string a, string b) in Families)
                place = segment.SequenceEqual(a) || segment.SequenceEqual(b) ? start : place;
        }

        return place >= 0 ? At(name, place) : any >= 0 ? At(name, any) : null;
    }

    /// <summary>
    /// Whether a module's name is one that PEFT gives to target_parameters: a parameter wrapped within another, or the experts of a layer
    /// as a whole.
    /// </summary>
    public static bool IsOfParameters(string module) =>
        module == "experts" || module.EndsWith(".experts", StringComparison.Ordinal) ||
        module.EndsWith(".base_layer", StringComparison.Ordinal);

    /// <summary>Whether the tensor is the factor itself, of an adapter with a name or without, and not a bias.</summary>
    public bool IsWeight => Rest.Split('.') is [""] or ["", not "bias"] or ["", _, "weight"];

    /// <summary>B's bias is added beside B A, and its mean is exact; A's goes through B.</summary>
    public bool IsBiasOfB => Rest.Split('.') is ["", "bias"] or ["", _, "bias"] && Array.Exists(Families, InFamily(Kind));

    private static Predicate<(string A, string B)> InFamily(string kind) => family => family.B == kind;

    private static int End(string name, int start) => name.IndexOf('.', start) is var dot and >= 0 ? dot : name.Length;

    private static LoraName At(string name, int start) =>
        new(start == 0 ? "" : name[..(start - 1)], name[start..End(name, start)], name[End(name, start)..]);
}
