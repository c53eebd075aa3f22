using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>All tensors of a module that have names of LoRA.</summary>
internal sealed class LoraModule(string name)
{
    // characters of a tensor's name that a sentence holds: chosen
    private const int LongestNamePart = 80;

    private LoraName? _other;

    public string Name => name;

    /// <summary>The factors, a pair for each adapter in the file.</summary>
    public List<LoraFactors> Factors { get; } = [];

    /// <summary>kohya's scalar alpha; null if there is none.</summary>
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

    /// <summary>
    /// Describes a tensor of the module that makes its weight other than s B A; null if there is none.
    /// </summary>
    public string? DescribeObstacle(LoraFactors factors)
    {
        if (_other is not { } other)
            return Factors.Find(others => others.Names != factors.Names) is { } others ? $"{others.Names.A} beside them" : null;
        return other.Kind switch
        {
            "lora_magnitude_vector" or "dora_scale" => $"DoRA: {other.Kind}",
            "lora_E" => "AdaLoRA: lora_E",
            "lora_diag" => "KaSA: lora_diag",
            _ => Sentence.Clean(other.Kind + other.Rest, LongestNamePart) + " beside them",
        };
    }
}
