namespace FedICU.Benchmarks;

/// <summary>The names and shapes of a model's tensors.</summary>
public sealed record Layout(string Name, IReadOnlyList<(string Name, int Rows, int Columns)> Tensors)
{
    // the sizes of a Llama model with 7 billion parameters
    private const int Layers = 32;
    private const int Width = 4096;
    private const int Inner = 11008;

    private static readonly (string Name, int Out, int In)[] Maps =
    [
        ("self_attn.q_proj", Width, Width), ("self_attn.k_proj", Width, Width), ("self_attn.v_proj", Width, Width),
        ("self_attn.o_proj", Width, Width), ("mlp.gate_proj", Inner, Width), ("mlp.up_proj", Inner, Width), ("mlp.down_proj", Width, Inner),
    ];

    public long Elements { get; } = Tensors.Sum(tensor => (long)tensor.Rows * tensor.Columns);

    public bool IsLora => Tensors.Count > 1;

    /// <summary>Whether all contenders are measured, and not only FedAvg and FedICU.</summary>
    public bool HasPeers { get; init; } = true;

    /// <summary>
    /// Creates the layout of LoRA factors for the seven linear maps of each of the 32 layers of a Llama model with 7
    /// billion parameters: 448 tensors.
    /// </summary>
    public static Layout Lora(int rank) => new(
        $"LoRA r={rank}",
        [.. from layer in Enumerable.Range(0, Layers)
            from map in Maps
            from factor in new[] { ("lora_A", rank, map.In), ("lora_B", map.Out, rank) }
            select ($"base_model.model.model.layers.{layer}.{map.Name}.{factor.Item1}.weight", factor.Item2, factor.Item3)]);

    public static Layout Matrix(int rows, int columns) => new($"{rows} x {columns}", [("weight", rows, columns)]);

    /// <summary>
    /// Creates a layout of tensors of 64 elements each, or, for one tensor, of as many elements as 448 such tensors
    /// have.
    /// </summary>
    public static Layout Tiny(int tensors) => new(
        $"{tensors} x 64",
        tensors == 1 ? [("weight", 448, 64)] : [.. Enumerable.Range(0, tensors).Select(i => ($"layers.{i}.weight", 8, 8))]);
}
