using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using FedICU;
using FedICU.Lora;
using TorchSharp;

namespace FedICU.Benchmarks.Torch;

/// <summary>
/// Measures rounds of LoRA adapters from file to file: ten clients of rank 8 on the 224 pairs of a Llama model with 7
/// billion parameters, in F32. Beside them, the dense product and its singular values with libtorch.
/// </summary>
internal static class Adapters
{
    private const int Clients = 10, Rank = 8, Layers = 32, Rounds = 5;

    private static readonly (string Name, int Out, int In)[] Maps =
    [
        ("self_attn.q_proj", 4096, 4096), ("self_attn.k_proj", 4096, 4096), ("self_attn.v_proj", 4096, 4096),
        ("self_attn.o_proj", 4096, 4096), ("mlp.gate_proj", 11008, 4096), ("mlp.up_proj", 11008, 4096), ("mlp.down_proj", 4096, 11008),
    ];

    /// <param name="folder">Where adapters are written: a folder in memory leaves out the final flush.</param>
    public static async Task MeasureAsync(string folder)
    {
        Write(Path.Combine(folder, "global"), 0);
        for (int k = 0; k < Clients; k++)
            Write(Path.Combine(folder, $"client-{k}"), k + 1);
        await MeasureAsync("fedavg", folder, new FedAvgAggregator());
        await MeasureAsync("flora", folder, new FLoraAggregator());
        double cut = await MeasureAsync("flexlora", folder, new FlexLoraAggregator());
        // one of each size, scaled to all pairs
        double dense = Layers * (4 * MeasureDense(4096, 4096) + 3 * MeasureDense(11008, 4096));
        Print("dense products and torch.linalg.svd, scaled to all pairs", dense);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"dense / flexlora: {dense / cut:F0}"));
    }

    private static void Print(string name, double seconds) =>
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{name}: {seconds:F2} s"));

    /// <summary>Returns the median of several rounds, after one that is not counted.</summary>
    private static async Task<double> MeasureAsync(string name, string folder, IAggregator aggregator)
    {
        var times = new List<double>();
        for (int i = 0; i <= Rounds; i++)
        {
            var watch = Stopwatch.StartNew();
            using (TensorSource global = TensorSource.Open(Path.Combine(folder, "global")))
            {
                var round = new AggregationRound(global);
                for (int k = 0; k < Clients; k++)
                    round.Add(ClientUpdate.FromFile($"client-{k}", Path.Combine(folder, $"client-{k}")));
                await aggregator.AggregateAsync(round, TensorSink.To(Path.Combine(folder, "output") + Path.DirectorySeparatorChar, global));
            }

            times.Add(watch.Elapsed.TotalSeconds);
            Directory.Delete(Path.Combine(folder, "output"), recursive: true);
        }

        double median = times.Skip(1).Order().ElementAt(Rounds / 2);
        Print(name, median);
        return median;
    }

    private static double MeasureDense(int outputs, int inputs)
    {
        using IDisposable scope = torch.NewDisposeScope();
        torch.Tensor[] a = [.. Enumerable.Range(0, Clients).Select(_ => torch.randn(Rank, inputs))];
        torch.Tensor[] b = [.. Enumerable.Range(0, Clients).Select(_ => torch.randn(outputs, Rank))];
        var watch = Stopwatch.StartNew();
        torch.Tensor product = torch.zeros(outputs, inputs);
        for (int k = 0; k < Clients; k++)
            product.addmm_(b[k], a[k], 1, 1f / Clients);
        (torch.Tensor u, torch.Tensor s, torch.Tensor vh) = torch.linalg.svd(product, fullMatrices: false);
        torch.Tensor root = s[..Rank].sqrt();
        torch.Tensor left = u[.., ..Rank] * root, right = root.unsqueeze(1) * vh[..Rank];
        GC.KeepAlive((left, right));
        Print($"a pair of {outputs} x {inputs}, dense", watch.Elapsed.TotalSeconds);
        return watch.Elapsed.TotalSeconds;
    }

    private static void Write(string adapter, int seed)
    {
        Directory.CreateDirectory(adapter);
        File.WriteAllText(
            Path.Combine(adapter, "adapter_config.json"),
            $$"""
            {"peft_type": "LORA", "r": {{Rank}}, "lora_alpha": 16, "base_model_name_or_path": "base", "bias": "none",
             "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]}
            """);
        torch.manual_seed(seed);
        var model = new MemoryModel();
        foreach (int layer in Enumerable.Range(0, Layers))
        {
            foreach ((string name, int outputs, int inputs) in Maps)
            {
                Add(model, $"base_model.model.model.layers.{layer}.{name}.lora_A.weight", Rank, inputs);
                Add(model, $"base_model.model.model.layers.{layer}.{name}.lora_B.weight", outputs, Rank);
            }
        }

        model.SaveTo(TensorSink.ToFile(Path.Combine(adapter, "adapter_model.safetensors")));
    }

    private static void Add(MemoryModel model, string name, int rows, int columns)
    {
        using torch.Tensor values = torch.randn(rows, columns) * 0.02f;
        model.Add(name, [rows, columns], MemoryMarshal.Cast<byte, float>(values.bytes).ToArray());
    }
}
