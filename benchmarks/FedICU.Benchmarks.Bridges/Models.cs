using System.Runtime.InteropServices;
using TorchSharp;

namespace FedICU.Benchmarks.Bridges;

/// <summary>Models of random numbers, in native memory and in files. Number 0 is the global model.</summary>
internal sealed unsafe class Models : IDisposable
{
    private readonly List<nint> _memory = [];
    private readonly MemoryModel[] _models;
    private readonly TensorInfo[] _tensors;
    private readonly string _folder;

    public Models(int clients, int tensors, int rows, int columns, string folder)
    {
        (Clients, _folder) = (clients, folder);
        _tensors = [.. Enumerable.Range(0, tensors).Select(i => new TensorInfo($"{i}", DType.F32, new TensorShape(rows, columns)))];
        _models = new MemoryModel[clients + 1];
        for (int k = 0; k <= clients; k++)
        {
            var random = new Random(k);
            _models[k] = [];
            foreach (TensorInfo tensor in _tensors)
            {
                float* memory = (float*)NativeMemory.AlignedAlloc((nuint)tensor.ByteLength, 64);
                _memory.Add((nint)memory);
                for (long i = 0; i < tensor.ElementCount; i++)
                    memory[i] = random.NextSingle() - 0.5f;
                _models[k].Add(tensor, (nint)memory);
            }

            _models[k].SaveTo(TensorSink.ToFile(Path(k)));
        }
    }

    public int Clients { get; }

    public IReadOnlyList<TensorInfo> Tensors => _tensors;

    public string Path(int model) => System.IO.Path.Combine(_folder, $"{model}.safetensors");

    public AggregationRound CreateRound(RoundOptions? options)
    {
        var round = new AggregationRound(_models[0], options ?? new RoundOptions());
        for (int k = 1; k <= Clients; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k:00}", _models[k], examples: k));
        return round;
    }

    public Dictionary<string, torch.Tensor> CreateStateDict(int model) => _tensors.ToDictionary(tensor => tensor.Name, tensor =>
    {
        torch.Tensor copy = torch.empty(tensor.Shape.Dimensions, torch.float32);
        _models[model].Read(tensor, 0, copy.bytes);
        return copy;
    });

    public ReadOnlySpan<byte> Bytes(int model, int tensor) =>
        new((void*)_memory[model * _tensors.Length + tensor], checked((int)_tensors[tensor].ByteLength));

    public void Dispose() => _memory.ForEach(memory => NativeMemory.AlignedFree((void*)memory));
}
