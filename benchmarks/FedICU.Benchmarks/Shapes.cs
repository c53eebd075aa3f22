namespace FedICU.Benchmarks;

/// <summary>How a model's 25 million parameters are laid out in tensors.</summary>
public enum Layout
{
    /// <summary>LoRA factors of rank 10 on the seven linear maps of each of the 32 layers of a Llama model with 7 billion parameters: 448 tensors.</summary>
    Lora,
    /// <summary>One matrix of 5000 x 5000.</summary>
    Matrix,
}

/// <summary>Models of 25 million random float32 parameters.</summary>
internal static class Shapes
{
    private const int Layers = 32, Rank = 10, Width = 4096, Inner = 11008;

    private static readonly (string Name, int Out, int In)[] Maps =
    [
        ("self_attn.q_proj", Width, Width), ("self_attn.k_proj", Width, Width), ("self_attn.v_proj", Width, Width), ("self_attn.o_proj", Width, Width),
        ("mlp.gate_proj", Inner, Width), ("mlp.up_proj", Inner, Width), ("mlp.down_proj", Width, Inner),
    ];

    public static MemoryModel Random(Layout layout, int seed)
    {
        var model = new MemoryModel();
        var random = new Random(seed);
        foreach ((string name, int rows, int columns) in Of(layout))
        {
            float[] values = GC.AllocateUninitializedArray<float>(rows * columns);
            foreach (ref float value in values.AsSpan())
                value = (random.NextSingle() - 0.5f) / 8;
            model.Add(name, [rows, columns], values);
        }

        return model;
    }

    private static IEnumerable<(string Name, int Rows, int Columns)> Of(Layout layout)
    {
        if (layout == Layout.Matrix)
            return [("weight", 5000, 5000)];
        return from layer in Enumerable.Range(0, Layers)
               from map in Maps
               from factor in new[] { ("lora_A", Rank, map.In), ("lora_B", map.Out, Rank) }
               select ($"base_model.model.model.layers.{layer}.{map.Name}.{factor.Item1}.weight", factor.Item2, factor.Item3);
    }
}
