using System.Buffers;
using System.Text;
using CsCheck;
using FedICU.Text;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

public sealed class RoundTripTests
{
    private static readonly FileAccessMode[] Modes = [FileAccessMode.Read, FileAccessMode.Mapped];

    [Test]
    public void EveryTypeAndRankIsReadBack([ValueSource(nameof(Modes))] FileAccessMode mode)
    {
        long[][] shapes = [[4], [4, 3], [2, 2, 5], [1, 1, 1, 1, 8], [0], [3, 0]];
        var content = DTypes.SelectMany(_ => shapes, (dtype, shape) => Tensor($"{dtype} {string.Join('x', shape)}", dtype, shape))
            .Concat(DTypes.Where(dtype => dtype.BitSize % 8 == 0).Select(dtype => Tensor($"scalar {dtype}", dtype)));
        RoundTrip(new ArrayModel([.. content]), mode);
    }

    [Test]
    public void AnEmptyModelIsReadBack([ValueSource(nameof(Modes))] FileAccessMode mode) => RoundTrip(new ArrayModel([]), mode);

    [Test]
    public void AModelWithOnlyMetadataIsReadBack([ValueSource(nameof(Modes))] FileAccessMode mode) =>
        RoundTrip(new ArrayModel([], new Dictionary<string, string> { ["format"] = "pt" }), mode);

    [TestCase("")]
    [TestCase(" ")]
    [TestCase("\"quoted\\ \b\f\n\r\t\0\u001f\u007f")]
    [TestCase("Gewicht \u00e4\u00f6\u00fc \u4e2d\u6587 \u2028 \ud83d\ude00 \uffff")]
    [TestCase("a.b/c#values<>&'+")]
    [TestCase("__metadata")]
    public void UnusualNamesAreReadBack(string name) =>
        RoundTrip(new ArrayModel([Tensor(name, DType.F32, 3)], new Dictionary<string, string> { [name] = name }), FileAccessMode.Read);

    [Test]
    public void RandomModelsAreReadBack()
    {
        Gen<(DType DType, long[] Shape)> tensor = Gen.Select(Gen.Enum<DType>(), Gen.Long[0, 5].Array[0, 4])
            .Where((dtype, shape) => shape.Aggregate(1L, (n, d) => n * d) * dtype.BitSize % 8 == 0);
        Gen<Dictionary<string, (DType DType, long[] Shape)>> models = Gen.Dictionary(Gen.String.Where(IsUnicode), tensor)[0, 8];
        Gen<Dictionary<string, string>> metadata =
            Gen.Dictionary(Gen.String.Where(IsUnicode), Gen.String.Where(IsUnicode))[0, 3];
        Gen.Select(models, metadata).Sample(
            (model, entries) => RoundTrip(
                new ArrayModel(
                    [.. model.Where(entry => entry.Key != "__metadata__")
                        .Select(entry => Tensor(entry.Key, entry.Value.DType, entry.Value.Shape))],
                    entries),
                FileAccessMode.Read),
            iter: 200,
            threads: 1);
    }

    [Test]
    public void TheFileHasTheLayoutOfTheFormat()
    {
        using var folder = new TempFolder();
        var model = new ArrayModel(
            [Tensor("b", DType.U8, 3), Tensor("a", DType.F32, 2)], new Dictionary<string, string> { ["z"] = "1", ["k"] = "2" });
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));

        const string Header =
            """{"__metadata__":{"k":"2","z":"1"},"b":{"dtype":"U8","shape":[3],"data_offsets":""" +
            """[0,3]},"a":{"dtype":"F32","shape":[2],"data_offsets":[3,11]}}""";
        byte[] file = File.ReadAllBytes(folder["m.safetensors"]);
        int length = BitConverter.ToInt32(file);
        Assert.Multiple(() =>
        {
            Assert.That(length % 8, Is.Zero);
            Assert.That(Encoding.UTF8.GetString(file, 8, length), Is.EqualTo(Header.PadRight(length)));
            Assert.That(length - Header.Length, Is.LessThan(8));
            Assert.That(file[(8 + length)..], Is.EqualTo((byte[])[.. model.DataOf("b"), .. model.DataOf("a")]));
            Assert.That(folder.Names(), Is.EqualTo((string[])["m.safetensors"]));
        });
    }

    [Test]
    public void TensorsComeInTheOrderOfTheirData()
    {
        using var folder = new TempFolder();
        byte[] file = FileOf(
            """{"b":{"data_offsets":[2,3],"shape":[1],"dtype":"U8"},"e":{"dtype":"U8","shape":[0],"data_offsets":""" +
            """[2,2]},"a":{"dtype":"\u00558","shape":[2],"data_offsets":[0,2]}}""",
            3);
        file[^1] = 42;
        using var model = SafetensorsFile.Open(folder.Put("m.safetensors", file));
        Assert.That(model.Tensors.Select(tensor => tensor.Name), Is.EqualTo((string[])["a", "e", "b"]));
        Assert.That(Data(model, model.Find("b")!), Is.EqualTo((byte[])[42]));
    }

    [Test]
    public void ThreadsWriteAndReadPiecesInAnyOrder()
    {
        using var folder = new TempFolder();
        var model = new ArrayModel([Tensor("a", DType.F32, 1000, 100), Tensor("b", DType.BF16, 77, 1001)]);
        TensorSink sink = TensorSink.ToFile(folder["m.safetensors"]);
        sink.Begin(model.Tensors, NoMetadata);
        const int Piece = 4099;
        (TensorInfo Tensor, int At)[] pieces =
        [
            .. model.Tensors.SelectMany(tensor =>
                Enumerable.Range(0, (int)(tensor.ByteLength + Piece - 1) / Piece).Select(i => (tensor, i * Piece))).Reverse(),
        ];
        Parallel.ForEach(pieces, piece =>
            sink.Write(piece.Tensor, piece.At,
                model.DataOf(piece.Tensor.Name).AsSpan(piece.At, (int)Math.Min(Piece, piece.Tensor.ByteLength - piece.At))));
        sink.Commit();

        foreach (FileAccessMode mode in Modes)
        {
            using var file = SafetensorsFile.Open(folder["m.safetensors"], mode);
            Parallel.ForEach(pieces, piece =>
            {
                var bytes = new byte[Math.Min(Piece, piece.Tensor.ByteLength - piece.At)];
                file.Read(piece.Tensor, piece.At, bytes);
                Assert.That(bytes.AsSpan().SequenceEqual(model.DataOf(piece.Tensor.Name).AsSpan(piece.At, bytes.Length)));
            });
        }
    }

    [Test]
    public unsafe void AMappedFileLendsOnlyAlignedTensors()
    {
        using var folder = new TempFolder();
        var model = new ArrayModel([Tensor("even", DType.F32, 5), Tensor("byte", DType.U8, 1), Tensor("odd", DType.F32, 5)]);
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));
        using (var file = SafetensorsFile.Open(folder["m.safetensors"]))
            Assert.That(file.TryPin(file.Tensors[0], out _), Is.False);

        using var mapped = SafetensorsFile.Open(folder["m.safetensors"], FileAccessMode.Mapped);
        Assert.That(mapped.TryPin(mapped.Tensors[0], out MemoryHandle memory), Is.True);
        Assert.That(new ReadOnlySpan<byte>(memory.Pointer, 20).SequenceEqual(model.DataOf("even")));
        Assert.That(mapped.TryPin(mapped.Tensors[2], out _), Is.False);
        AssertSame(mapped, model);
    }

    [Test]
    public void ADisposedFileThrows([ValueSource(nameof(Modes))] FileAccessMode mode)
    {
        using var folder = new TempFolder();
        var model = new ArrayModel([Tensor("a", DType.F32, 5)]);
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));
        var file = SafetensorsFile.Open(folder["m.safetensors"], mode);
        file.Dispose();
        file.Dispose();
        Assert.Throws<ObjectDisposedException>(() => file.Read(file.Tensors[0], 0, new byte[4]));
        Assert.Throws<ObjectDisposedException>(() => file.TryPin(file.Tensors[0], out _));
    }

    [Test]
    public void BytesOutsideATensorAreRejected([ValueSource(nameof(Modes))] FileAccessMode mode)
    {
        using var folder = new TempFolder();
        var model = new ArrayModel([Tensor("a", DType.F32, 5), Tensor("b", DType.F32, 5)]);
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));
        using var file = SafetensorsFile.Open(folder["m.safetensors"], mode);
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(file.Tensors[0], 17, new byte[4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(file.Tensors[0], -1, new byte[4]));
        Assert.Throws<ArgumentOutOfRangeException>(() => file.Read(file.Tensors[0], long.MaxValue, new byte[4]));
        Assert.Throws<ArgumentException>(() => file.Read(new TensorInfo("c", DType.F32, new TensorShape(5)), 0, new byte[4]));
        Assert.DoesNotThrow(() => file.Read(file.Tensors[0], 20, []));
    }

    [Test]
    public void TheEndOfATensorBeyond4GiBIsRead([ValueSource(nameof(Modes))] FileAccessMode mode)
    {
        using var folder = new TempFolder();
        const long Length = 5L << 30;
        using (FileStream stream = new(folder["m.safetensors"], FileMode.CreateNew))
        {
            // Sparse: the file takes no space on the disk.
            byte[] head = FileOf($$$"""{"a":{"dtype":"U8","shape":[{{{Length}}}],"data_offsets":[0,{{{Length}}}]}}""", 0);
            stream.Write(head);
            stream.SetLength(head.Length + Length);
            stream.Seek(-1, SeekOrigin.End);
            stream.WriteByte(7);
        }

        using var file = SafetensorsFile.Open(folder["m.safetensors"], mode);
        var end = new byte[2];
        file.Read(file.Tensors[0], Length - 2, end);
        Assert.That(end, Is.EqualTo((byte[])[0, 7]));
    }

    [Test]
    public void TheGoldenFilesAreReadAndWritten()
    {
        using var folder = new TempFolder();
        foreach (string path in Directory.EnumerateFiles(Golden.RoundFolder("bf16"), "*.safetensors"))
        {
            using var golden = SafetensorsFile.Open(path);
            Write(golden, TensorSink.ToFile(folder["copy.safetensors"]));
            using var copy = SafetensorsFile.Open(folder["copy.safetensors"]);
            AssertSame(copy, golden);
        }
    }

    private static bool IsUnicode(string text) => Sentence.IsUnicode(text);

    private static void RoundTrip(ArrayModel model, FileAccessMode mode)
    {
        using var folder = new TempFolder();
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));
        using var file = SafetensorsFile.Open(folder["m.safetensors"], mode);
        AssertSame(file, model);
    }
}
