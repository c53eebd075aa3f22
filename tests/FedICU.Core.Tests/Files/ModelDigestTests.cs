using System.Buffers.Binary;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

public sealed class ModelDigestTests
{
    // Computed once with Python's hashlib from the definition in ModelDigest.Compute. reference_reader.py recomputes it
    // if Python is available.
    private const string KnownAnswer = "sha256:ca60b6b1e4d92347d3d57c4284f4c1d227adeb0a6bc21d473becd86049c4ce8d";
    private const string KnownAnswerOfNothing = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    // The order of the names in UTF-8 differs from their order in UTF-16: U+1F600 is above U+FF5E, but its first
    // surrogate is below. Byte i of a tensor is i * 7 + 1.
    internal static readonly ArrayModel Known = new(
    [
        Counting("w.lora_B", DType.BF16, 3, 5),
        Counting("\ud83d\ude00", DType.U8, 4),
        Counting("\uff5e", DType.I16, 1, 2),
        Counting("w.lora_A", DType.F32, 5, 2),
        Counting("", DType.F64),
        Counting("empty", DType.F16, 0, 7),
        Counting("f8", DType.F8E4M3Fnuz, 9),
        Counting("f4", DType.F4, 2, 3),
    ]);

    [Test]
    public void TheDigestOfAKnownModelIsRight() => Assert.That(ModelDigest.Compute(Known), Is.EqualTo(KnownAnswer));

    [Test]
    public void TheDigestOfAnEmptyModelIsRight() => Assert.That(ModelDigest.Compute(new ArrayModel([])), Is.EqualTo(KnownAnswerOfNothing));

    [Test]
    public void OrderMetadataShardingAndAccessDoNotMatter([Values] FileAccessMode mode)
    {
        using var folder = new TempFolder();
        (TensorInfo, byte[])[] content = [.. Known.Tensors.Select(tensor => (tensor, Known.DataOf(tensor.Name)))];
        Write(new ArrayModel([.. content.Reverse()], new Dictionary<string, string> { ["round"] = "3" }),
            TensorSink.ToFile(folder["reversed.safetensors"]));
        AssertKnown(folder["reversed.safetensors"]);

        Write(new ArrayModel(content[..3]), TensorSink.ToFile(folder["1.safetensors"]));
        Write(new ArrayModel(content[3..]), TensorSink.ToFile(folder["2.safetensors"]));
        string map = string.Join(',', Known.Tensors.Select((tensor, i) => $"\"{tensor.Name}\":\"{(i < 3 ? 1 : 2)}.safetensors\""));
        File.WriteAllText(folder["model.safetensors.index.json"], $$$"""{"weight_map":{{{{map}}}}}""");
        AssertKnown(folder.FullName);

        void AssertKnown(string path)
        {
            using TensorSource model = TensorSource.Open(path, mode);
            Assert.That(ModelDigest.Compute(model), Is.EqualTo(KnownAnswer));
        }
    }

    [Test]
    public void NameTypeShapeAndDataMatter()
    {
        var (tensor, data) = Counting("a", DType.F32, 2, 3);
        byte[] other = [.. data];
        other[^1] ^= 1;
        string[] digests =
        [
            ModelDigest.Compute(new ArrayModel([(tensor, data)])),
            ModelDigest.Compute(new ArrayModel([(tensor with { Name = "b" }, data)])),
            ModelDigest.Compute(new ArrayModel([(tensor with { DType = DType.I32 }, data)])),
            ModelDigest.Compute(new ArrayModel([(tensor with { Shape = new TensorShape(3, 2) }, data)])),
            ModelDigest.Compute(new ArrayModel([(tensor with { Shape = new TensorShape(6) }, data)])),
            ModelDigest.Compute(new ArrayModel([(tensor, other)])),
            ModelDigest.Compute(new ArrayModel([(tensor, data), Counting("b", DType.U8, 0)])),
        ];
        Assert.That(digests, Is.Unique);
    }

    [Test]
    public void ATensorOfManyPanelsIsHashedWhole([Values] FileAccessMode mode)
    {
        using var folder = new TempFolder();
        var model = new ArrayModel([Tensor("big", DType.U8, (3 << 20) + 17), Tensor("small", DType.F32, 1)]);
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));
        using var file = SafetensorsFile.Open(folder["m.safetensors"], mode);
        byte[] flat =
        [
            .. Head("big", DType.U8, (3 << 20) + 17), .. Hash(model.DataOf("big")),
            .. Head("small", DType.F32, 1), .. Hash(model.DataOf("small")),
        ];
        Assert.That(ModelDigest.Compute(file), Is.EqualTo("sha256:" + Convert.ToHexStringLower(Hash(flat))));

        static byte[] Hash(byte[] bytes) => System.Security.Cryptography.SHA256.HashData(bytes);
    }

    [Test]
    public void ACanceledDigestEnds()
    {
        using var cancelled = new CancellationTokenSource();
        cancelled.Cancel();
        Assert.Catch<OperationCanceledException>(() => ModelDigest.Compute(Known, cancelled.Token));
    }

    [Test]
    public async Task ADigestUsesOnlyTheThreadsOfItsRound()
    {
        var counted = new CountedReads();
        Assert.That(ModelDigest.Compute(counted, threads: 1, CancellationToken.None), Is.EqualTo(ModelDigest.Compute(new CountedReads())));
        var round = new AggregationRound(counted) { Options = new RoundOptions { Threads = 1 } };
        round.Add(ClientUpdate.FromTensors("a", new CountedReads(), 1, baseDigest: ModelDigest.Compute(new CountedReads())));
        await new FedAvgAggregator().AggregateAsync(round, TensorSink.Discard);
        new FedIcuClient(new FedIcuClientOptions { Threads = 1 }).CreateUpdate(counted, new CountedReads(), TensorSink.Discard);
        Assert.That(counted.AtOnce, Is.EqualTo(1));
    }

    [Test]
    public void AFileTruncatedAfterItWasOpenedGivesAMessage()
    {
        using var folder = new TempFolder();
        Write(Known, TensorSink.ToFile(folder["m.safetensors"]));
        using var file = SafetensorsFile.Open(folder["m.safetensors"]);
        using (FileStream stream = new(folder["m.safetensors"], FileMode.Open, FileAccess.Write, FileShare.ReadWrite))
            stream.SetLength(8);
        Assert.That(Assert.Catch<InvalidModelException>(() => ModelDigest.Compute(file))!.Message,
            Does.StartWith($"'{folder["m.safetensors"]}' was truncated while it was read: tensor '"));
    }

    /// <summary>Sixteen tensors of zeros with slow reads. Counts the largest number of concurrent reads.</summary>
    private sealed class CountedReads : TensorSource
    {
        private readonly Lock _gate = new();
        private int _reading;

        public int AtOnce { get; private set; }

        public override IReadOnlyList<TensorInfo> Tensors { get; } =
            [.. Enumerable.Range(0, 16).Select(i => new TensorInfo($"t{i}", DType.U8, new TensorShape(1)))];

        public override string Location => "memory";

        public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
        {
            lock (_gate)
                AtOnce = Math.Max(AtOnce, ++_reading);
            Thread.Sleep(2);
            destination.Clear();
            lock (_gate)
                _reading--;
        }
    }

    private static byte[] Head(string name, DType dtype, params long[] shape)
    {
        var head = new List<byte>();
        AddNumber(name.Length, 4);
        head.AddRange(System.Text.Encoding.UTF8.GetBytes(name));
        AddNumber(dtype.SafetensorsName.Length, 1);
        head.AddRange(System.Text.Encoding.UTF8.GetBytes(dtype.SafetensorsName));
        AddNumber(shape.Length, 4);
        foreach (long dimension in shape)
            AddNumber(dimension, 8);
        return [.. head];

        void AddNumber(long number, int bytes)
        {
            var all = new byte[8];
            BinaryPrimitives.WriteInt64LittleEndian(all, number);
            head.AddRange(all[..bytes]);
        }
    }

    private static (TensorInfo Tensor, byte[] Data) Counting(string name, DType dtype, params long[] shape)
    {
        var tensor = new TensorInfo(name, dtype, new TensorShape(shape));
        var data = new byte[tensor.ByteLength];
        for (int i = 0; i < data.Length; i++)
            data[i] = (byte)(i * 7 + 1);
        return (tensor, data);
    }
}
