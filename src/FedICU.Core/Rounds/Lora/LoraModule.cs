using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>All tensors of a module whose names are LoRA's.</summary>
internal sealed class LoraModule(string name)
{
    private const int LongestPart = 80;

    private LoraName? _other;

    public string Name => name;

    /// <summary>The factors, a set for each adapter in the file.</summary>
    public List<LoraFactors> Factors { get; } = [];

    /// <summary>kohya's scalar.</summary>
    public TensorInfo? Alpha { get; private set; }

    public void Add(LoraName part, TensorInfo tensor)
    {
        int family = Array.FindIndex(LoraName.Families, names => names.A == part.Kind || names.B == part.Kind);
        if (family >= 0 && part.IsWeight)
        {
            (string A, string B) names = LoraName.Families[family];
            LoraFactors? factors = Factors.Find(known => known.Names == names && known.Rest == part.Rest);
            if (factors is null)
                Factors.Add(factors = new LoraFactors(names, part.Rest));
            if (part.Kind == names.A)
                factors.A = tensor;
            else
                factors.B = tensor;
        }
        else if (part.Kind == LoraName.Alpha && tensor.ElementCount == 1)
        {
            Alpha = tensor;
        }
        else if (!part.IsBiasOfB)
        {
            _other ??= part;
        }
    }

    /// <summary>The tensor of the module by which its weight is not s B A; null where there is none.</summary>
    public string? Obstacle(LoraFactors factors)
    {
        if (_other is not { } other)
            return Factors.Find(set => set.Names != factors.Names) is { } set ? $"{set.Names.A} beside them" : null;
        return other.Kind switch
        {
            "lora_magnitude_vector" or "dora_scale" => $"DoRA: {other.Kind}",
            "lora_E" => "AdaLoRA: lora_E",
            "lora_diag" => "KaSA: lora_diag",
            _ => Sentence.Clean(other.Kind + other.Rest, LongestPart) + " beside them",
        };
    }
}
