using System.Diagnostics;
using System.Text.Json;
using FedICU;
using FedICU.Benchmarks.Torch;
using TorchSharp;

// Measures a round over the suite's files with TorchSharp. The arguments are FOLDER OUT SECONDS, as for
// benchmarks/python_peers.py; or `adapters` and an empty folder for rounds of LoRA adapters.
if (args is ["adapters", _])
{
    WeakVersions.LoadLibtorch();
    torch.set_num_threads(Environment.ProcessorCount);
    await Adapters.MeasureAsync(args[1]);
    return;
}

(string folder, string output) = (args[0], args[1]);
double seconds = double.Parse(args[2], System.Globalization.CultureInfo.InvariantCulture);
WeakVersions.LoadLibtorch();
torch.set_num_threads(Environment.ProcessorCount);
torch.Tensor[][] clients = [.. Directory.GetFiles(folder, "client-*.safetensors").Order(StringComparer.Ordinal).Select(Load)];
torch.Tensor[] accumulators = [.. clients[0].Select(tensor => torch.zeros(tensor.shape, torch.ScalarType.Float32))];
double total = clients.Length * (clients.Length + 1) / 2.0;
var times = new List<double>();
for (var all = Stopwatch.StartNew(); times.Count < 4 || (times.Count < 16 && all.Elapsed.TotalSeconds < seconds);)
{
    var one = Stopwatch.StartNew();
    for (int i = 0; i < accumulators.Length; i++)
    {
        accumulators[i].zero_();
        for (int k = 0; k < clients.Length; k++)
            accumulators[i].add_(clients[k][i], (k + 1) / total);
    }

    times.Add(one.Elapsed.TotalMilliseconds);
}

File.WriteAllText(output, JsonSerializer.Serialize(new[] { new { name = "TorchSharp add_", milliseconds = times.Skip(1) } }));

static torch.Tensor[] Load(string path)
{
    using var file = TensorSource.Open(path, FileAccessMode.Mapped);
    return [.. file.Tensors.OrderBy(tensor => tensor.Name, StringComparer.Ordinal).Select(tensor =>
    {
        torch.ScalarType type = tensor.DType switch { DType.F32 => torch.float32, DType.F16 => torch.float16, _ => torch.bfloat16 };
        torch.Tensor loaded = torch.empty(tensor.Shape.Dimensions, type);
        file.Read(tensor, 0, loaded.bytes);
        return loaded;
    })];
}
