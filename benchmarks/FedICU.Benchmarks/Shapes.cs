namespace FedICU.Benchmarks;

/// <summary>A model's tensors by name and shape.</summary>
public sealed record Layout(string Name, IReadOnlyList<(string Name, int Rows, int Columns)> Tensors)
{
    private const int Layers = 32, Width = 4096, Inner = 11008;

    private static readonly (string Name, int Out, int In)[] Maps =
    [
        ("self_attn.q_proj", Width, Width), ("self_attn.k_proj", Width, Width), ("self_attn.v_proj", Width, Width), ("self_attn.o_proj", Width, Width),
        ("mlp.gate_proj", Inner, Width), ("mlp.up_proj", Inner, Width), ("mlp.down_proj", Width, Inner),
    ];

    public long Elements { get; } = Tensors.Sum(tensor => (long)tensor.Rows * tensor.Columns);

    public bool IsLora => Tensors.Count > 1;

    /// <summary>Whether all else is measured beside FedAvg and FedICU.</summary>
    public bool HasPeers { get; init; } = true;

    /// <summary>LoRA factors on the seven linear maps of each of the 32 layers of a Llama model with 7 billion parameters: 448 tensors.</summary>
    public static Layout Lora(int rank) => new(
        $"LoRA r={rank}",
        [.. from layer in Enumerable.Range(0, Layers)
            from map in Maps
            from factor in new[] { ("lora_A", rank, map.In), ("lora_B", map.Out, rank) }
            select ($"base_model.model.model.layers.{layer}.{map.Name}.{factor.Item1}.weight", factor.Item2, factor.Item3)]);

    public static Layout Matrix(int rows, int columns) => new($"{rows} x {columns}", [("weight", rows, columns)]);

    /// <summary>As many tensors as in a LoRA adapter, of 64 elements; and one with as many elements.</summary>
    public static Layout Tiny(int tensors) =>
        new($"{tensors} x 64", tensors == 1 ? [("weight", 448, 64)] : [.. Enumerable.Range(0, tensors).Select(i => ($"layers.{i}.weight", 8, 8))]);
}
