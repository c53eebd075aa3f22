using System.Globalization;
using System.Text;
using FedICU.Compute;

namespace FedICU.TestChild;

/// <summary>
/// Runs whole rounds and client updates and hashes the bits of each result. A process with fewer CPU instructions must
/// print the same hashes.
/// </summary>
public static unsafe class RoundHash
{
    /// <summary>
    /// The values of all clients' large tensors together. They are enough that the split computes all inner products in
    /// one pass.
    /// </summary>
    public const long LargeValues = (long)LargeRows * LargeColumns * LargeClients;

    // a prime, so that it is no multiple of a vector's length; chosen
    private const int LargeRows = 1201;

    // a prime, so that it is no multiple of a vector's length; chosen
    private const int LargeColumns = 2333;

    // clients of a large round; chosen
    private const int LargeClients = 6;

    private static readonly DType[] Types = [DType.F32, DType.F64, DType.BF16, DType.F16];

    /// <summary>Computes the hashes of a backend, one line a round or update.</summary>
    public static IReadOnlyList<string> Lines(IClientBackend backend)
    {
        var lines = new List<string>();
        void Add(string name, ulong hash) => lines.Add(string.Create(CultureInfo.InvariantCulture, $"{name} {hash:x16}"));

        MemoryModel[] models = [.. Enumerable.Range(0, 8).Select(SmallModel)];
        foreach ((string name, IAggregator aggregator) in Aggregators())
            Add(name, HashOf(aggregator, backend, models, statistics: true));
        string[] masks = ["", "mask=soft", "mask=soft importance=minmax", "mask=top=0.3 importance=rank", "mask=noise=0.1 fill=zero"];
        foreach (string settings in masks)
            Add("mask " + settings, HashOf(settings, backend, models));

        MemoryModel[] large = LargeModels();
        var rows = new FedIcuOptions { Axis = NormAxis.Rows, Similarity = Similarity.PreviousDirection, Weights = WeightRule.Raw };
        Add("fedicu large", HashOf(new FedIcuAggregator(), backend, large, statistics: false));
        Add("fedicu large rows", HashOf(new FedIcuAggregator(rows), backend, large, statistics: false));
        return lines;
    }

    private static IEnumerable<(string, IAggregator)> Aggregators()
    {
        yield return ("fedavg", new FedAvgAggregator());
        foreach (NormAxis axis in Enum.GetValues<NormAxis>())
        {
            foreach (Similarity similarity in Enum.GetValues<Similarity>())
            {
                var options = new FedIcuOptions { Axis = axis, Similarity = similarity };
                yield return ($"fedicu {axis} {similarity}", new FedIcuAggregator(options));
            }
        }

        var model = new FedIcuOptions { Granularity = Granularity.Model, Weights = WeightRule.Relu };
        var delta = new FedIcuOptions { Target = SplitTarget.Delta, Consensus = ConsensusRule.Share, TimesShare = true };
        var raw = new FedIcuOptions { Weights = WeightRule.Raw, Granularity = Granularity.Model };
        yield return ("fedicu model", new FedIcuAggregator(model));
        yield return ("fedicu delta", new FedIcuAggregator(delta));
        yield return ("fedicu raw", new FedIcuAggregator(raw));
        yield return ("bulyan", new BulyanAggregator(new BulyanOptions { Byzantine = 1 }));
        yield return ("multi-krum", new MultiKrumAggregator(new MultiKrumOptions { Byzantine = 1 }));
        yield return ("norm-clip", new NormClipAggregator(new NormClipOptions { ClipNorm = 3 }));
        yield return ("dp-fedavg", new DpFedAvgAggregator(new DpFedAvgOptions { ClipNorm = 2, NoiseMultiplier = 0.3, Seed = 5 }));
    }

    private static ulong HashOf(IAggregator aggregator, IComputeBackend backend, MemoryModel[] models, bool statistics)
    {
        var round = new AggregationRound(models[0], new RoundOptions { Backend = backend, Statistics = statistics, Threads = 2 });
        for (int k = 1; k < models.Length; k++)
            round.Add(ClientUpdate.FromTensors($"client-{k}", models[k], 10 + 7 * k));
        using var sink = new MemorySink();
        RoundReport report = aggregator.AggregateAsync(round, sink).GetAwaiter().GetResult().Report;
        var hash = new Hash();
        hash.Add(sink.Model);
        hash.Add(Encoding.UTF8.GetBytes(report.ToJson()));
        return hash.Value;
    }

    private static ulong HashOf(string settings, IClientBackend backend, MemoryModel[] models)
    {
        IEnumerable<string[]> pairs = settings.Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(pair => pair.Split('=', 2));
        FedIcuClientOptions options = FedIcuClientOptions.FromSettings(pairs.Select(pair => KeyValuePair.Create(pair[0], pair[1])));
        var client = new FedIcuClient(options with { Threads = 2 });
        var hash = new Hash();
        using MemorySink momentum = new(), update = new();
        for (int round = 1; round < 3; round++)
        {
            client.CreateUpdate(models[0], models[round], update, round == 1 ? null : momentum.Model, momentum, backend: backend);
            hash.Add(update.Model);
            hash.Add(momentum.Model);
        }

        return hash.Value;
    }

    private static MemoryModel SmallModel(int seed)
    {
        (string Name, long[] Shape)[] tensors =
        [
            ("x.lora_A.weight", [8, 130]), ("x.lora_B.weight", [67, 8]), ("narrow", [1500, 3]), ("wide", [3, 2049]), ("vector", [777]),
            ("conv", [5, 3, 7]), ("scalar", []), ("one", [1, 1]),
        ];
        var model = new MemoryModel();
        for (int t = 0; t < tensors.Length; t++)
        {
            var info = new TensorInfo(tensors[t].Name, Types[t % Types.Length], new TensorShape(tensors[t].Shape));
            model.Add(info, Sample(info, new Random(100 * t + seed)));
        }

        model.Add("steps", [3], new long[] { seed, 7 * seed + 1, -seed });
        return model;
    }

    /// <summary>
    /// Creates models of one tensor each. To save time, a block of random values is repeated; its length is no multiple
    /// of a row.
    /// </summary>
    private static MemoryModel[] LargeModels()
    {
        var info = new TensorInfo("large", DType.F32, new TensorShape(LargeRows, LargeColumns));
        return [.. Enumerable.Range(0, LargeClients + 1).Select(seed =>
        {
            byte[] drawn = Sample(info with { Shape = new TensorShape(65_537) }, new Random(seed)), bytes = new byte[info.ByteLength];
            for (int at = 0; at < bytes.Length; at += drawn.Length)
                drawn.AsSpan(0, Math.Min(drawn.Length, bytes.Length - at)).CopyTo(bytes.AsSpan(at));
            return new MemoryModel { { info, bytes } };
        })];
    }

    private static byte[] Sample(TensorInfo info, Random random)
    {
        byte[] bytes = new byte[info.ByteLength];
        fixed (byte* data = bytes)
            SamplePanels.Fill(data, info.DType, (int)info.ElementCount, random, Spread.Tame);
        return bytes;
    }

    /// <summary>An FNV hash that takes eight bytes at a time.</summary>
    private sealed class Hash
    {
        public ulong Value { get; private set; } = 0xCBF2_9CE4_8422_2325;

        public void Add(TensorSource model)
        {
            foreach (TensorInfo tensor in model.Tensors)
            {
                byte[] bytes = new byte[tensor.ByteLength];
                model.Read(tensor, 0, bytes);
                Add(bytes);
            }
        }

        public void Add(ReadOnlySpan<byte> bytes)
        {
            ulong hash = Value;
            for (; bytes.Length >= 8; bytes = bytes[8..])
                hash = (hash ^ BitConverter.ToUInt64(bytes)) * 0x100_0000_01B3 ^ hash >> 29;
            foreach (byte last in bytes)
                hash = (hash ^ last) * 0x100_0000_01B3 ^ hash >> 29;
            Value = hash;
        }
    }
}
