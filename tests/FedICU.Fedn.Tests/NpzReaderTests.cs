using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using FedICU.Fedn.Npz;
using FedICU.Tests;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn.Tests;

/// <summary>Tests reading and writing npz archives, valid and invalid.</summary>
internal sealed class NpzReaderTests
{
    private const string Unknown = "tensor '0' has the numpy type ";
    private const string Known =
        "; <f8, <f4, <f2, <c8, |b1, <i8, <i4, <i2, |i1, <u8, <u4, <u2, |u1, little-endian or big-endian, are known.";

    private static readonly NpzLimits Limits = new(100, 1 << 30, 100);

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fedicu-npz-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void ReadsWhatTheWriterWrites()
    {
        MemoryModel model = Archives.Model(5);
        string path = Path.Combine(_folder, "a.npz");
        NpzWriter.Write(model, path, CancellationToken.None);
        foreach (byte[] archive in (byte[][])[File.ReadAllBytes(path), Archives.Of(model)])
        {
            using MemorySink read = Read(archive);
            Assert.That(read.Model.Tensors, Is.EqualTo(model.Tensors), "names, types, shapes and order");
            foreach (TensorInfo tensor in model.Tensors)
                Assert.That(Archives.Bytes(read.Model, tensor), Is.EqualTo(Archives.Bytes(model, tensor)), tensor.Name);
        }
    }

    [Test]
    public void ReadsAndWritesLikeNumpy([Values("savez", "savez_compressed")] string save)
    {
        string python = Tools.PythonWithNumpy();
        string theirs = Path.Combine(_folder, "theirs.npz"), ours = Path.Combine(_folder, "ours.npz");
        const string Arrays =
            "[np.arange(12, dtype='f4').reshape(3, 4) / 7, np.array(2.5), np.arange(5, dtype='f2'), np.arange(-3, 3), " +
            "np.array([True, False]), np.zeros((0, 3), 'f4'), np.arange(4, dtype='u1'), np.array([1 + 2j], dtype='c8'), " +
            "np.arange(6, dtype='i2').reshape(1, 2, 3), np.arange(3, dtype='u8'), np.arange(7, dtype='i4'), np.arange(2, dtype='f8'), " +
            "np.array(3.5, dtype='>f8'), np.arange(5, dtype='>f4'), np.arange(5, dtype='>i2')]";
        Python($"import numpy as np; np.{save}('{theirs}', **{{str(i): a for i, a in enumerate({Arrays})}})");
        using MemorySink read = Read(File.ReadAllBytes(theirs));
        NpzWriter.Write(read.Model, ours, CancellationToken.None);
        // loaded like FEDn's helper does
        Python($"""
            import numpy as np
            file = np.load('{ours}')
            made = [file[str(i)] for i in range(len(file.files))]
            expected = [array.astype(array.dtype.newbyteorder('=')) for array in {Arrays}]
            assert len(made) == len(expected)
            for a, b in zip(made, expected):
                assert a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
            """);

        void Python(string code) => Assert.That(Tools.TryRun(python, ["-c", code], out string output), Is.Zero, output);
    }

    [TestCase(1), TestCase(2), TestCase(3)]
    public void ReadsEveryVersionOfTheHeader(byte version) => Assert.That(
        Read(Archives.OneArray(version: version)).Model.Tensors,
        Is.EqualTo(new[] { new TensorInfo("0", DType.F32, new TensorShape(2)) }));

    [TestCase("'<f4'", "True", "(2,)", null)]
    [TestCase("'<f4'", "True", "(2, 1)", "tensor '0' is in Fortran order; C order was expected, as numpy.ascontiguousarray makes it.")]
    [TestCase("'|O'", "False", "(1,)", "tensor '0' is an array of objects; numbers were expected.")]
    [TestCase("[('x', '<f4')]", "False", "(2,)", "tensor '0' is an array of records; numbers were expected.")]
    [TestCase("'<U2'", "False", "(2,)", Unknown + "'<U2'" + Known)]
    [TestCase("'<c16'", "False", "(2,)", Unknown + "'<c16'" + Known)]
    [TestCase("'<f16'", "False", "(2,)", Unknown + "'<f16'" + Known)]
    [TestCase("'|V2'", "False", "(2,)", Unknown + "'|V2'" + Known)]
    [TestCase("'<M8[ns]'", "False", "()", Unknown + "'<M8[ns]'" + Known)]
    [TestCase("'<f4'", "False", "(3,)", "tensor '0' has 8 bytes; F32 [3] takes 12.")]
    [TestCase("'<f4'", "False", "(9223372036854775807, 9)", "tensor '0' has a shape of more elements than 64 bits can count.")]
    [TestCase("'<f4'", "False", "(4294967296, 4294967296)", "tensor '0' has a shape of more elements than 64 bits can count.")]
    [TestCase("'<f8'", "False", "(2305843009213693952,)", "tensor '0' has a shape of more elements than 64 bits can count.")]
    [TestCase("'<f4'", "False", "(9223372036854775808,)", "tensor '0' has a dimension that 64 bits cannot hold.")]
    [TestCase("'<f4'", "False", "(1, -2)", "tensor '0' has a negative dimension.")]
    [TestCase("'<f4'", "False", "(x,)", "tensor '0' has a .npy header that is malformed at byte 51.")]
    [TestCase(
        "'<f4', 'more': 1", "False", "(2,)",
        "tensor '0' has a .npy header with 'more'; descr, fortran_order and shape, once each, were expected.")]
    public void AnInvalidArrayIsRefusedWithAReason(string type, string order, string shape, string? expected) =>
        Expect(Archives.OneArray(type, order, shape), expected);

    [Test]
    public void AShapeHasAtMost64Dimensions()
    {
        using MemorySink read = Read(Archives.OneArray(shape: $"({string.Join(", ", Enumerable.Repeat("1", 63))}, 2)"));
        Assert.That(read.Model.Tensors.Single().Shape.Rank, Is.EqualTo(64));
        Expect(
            Archives.OneArray(shape: $"({string.Join(", ", Enumerable.Repeat("1", 64))}, 2)"), "tensor '0' has more than 64 dimensions.");
        // the message shortens a long shape
        string ones = string.Concat(Enumerable.Repeat("1, ", 60));
        string head = $"U8 [{ones}"[..98], tail = $"{ones}30000, 30000, 30000, 30000]"[^98..];
        Expect(
            Archives.OneArray("'|u1'", shape: $"({ones}30000, 30000, 30000, 30000)"),
            $"tensor '0' has 8 bytes; {head}...{tail} takes 810000000000000000.");
        Expect(
            Archives.OneArray(version: 3, shape: $"({string.Concat(Enumerable.Repeat("1, ", 3_000_000))})"),
            "tensor '0' has a .npy header of more than 10000 bytes.");
    }

    [TestCase("f8", 8), TestCase("f4", 4), TestCase("f2", 2), TestCase("c8", 4), TestCase("i8", 8)]
    [TestCase("i4", 4), TestCase("i2", 2), TestCase("u8", 8), TestCase("u4", 4), TestCase("u2", 2)]
    public void ReadsBigEndianArrays(string type, int width)
    {
        int size = type == "c8" ? 8 : width;
        // more than one piece of 1 MiB, and a scalar
        foreach (int count in (int[])[(1 << 20) / size + 3, 1])
        {
            byte[] little = new byte[count * size];
            new Random(7).NextBytes(little);
            byte[] big = [.. little];
            for (int at = 0; at < big.Length; at += width)
                big.AsSpan(at, width).Reverse();
            string shape = count == 1 ? "()" : $"({count},)";
            using MemorySink read = Read(Archives.Zip(("0.npy", Archives.Npy(Header('>'), big))));
            using MemorySink same = Read(Archives.Zip(("0.npy", Archives.Npy(Header('<'), little))));
            Assert.That(read.Model.Tensors, Is.EqualTo(same.Model.Tensors));
            Assert.That(Archives.Bytes(read.Model, read.Model.Tensors[0]).AsSpan().SequenceEqual(little));

            string Header(char order) => $"{{'descr': '{order}{type}', 'fortran_order': False, 'shape': {shape}, }}";
        }
    }

    [Test]
    public void ADirectoryOfAHundredThousandNamesIsRead()
    {
        using SafeFileHandle file = Write(ArchiveOf("layers.{0:d6}.attention.weights.npy", 100_000));
        Assert.That(ZipDirectory.Read(file, Limits with { MaxTensors = 100_000 }), Has.Count.EqualTo(100_000));
    }

    [Test]
    public void ADirectoryThatIsTooLongIsRefused()
    {
        using SafeFileHandle file = Write(ArchiveOf("{0:d3}" + new string('x', 65_520) + ".npy", 128));
        Assert.That(
            () => ZipDirectory.Read(file, Limits with { MaxTensors = 1000 }),
            Throws.TypeOf<InvalidModelException>().With.Message.Match(
                @"^the archive is not an npz file: its directory has \d+ bytes; at most 8388608 were expected\.$"));
    }

    private static byte[] ArchiveOf(string name, int count)
    {
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            for (int i = 0; i < count; i++)
                archive.CreateEntry(string.Format(CultureInfo.InvariantCulture, name, i), CompressionLevel.NoCompression).Open().Dispose();
        }

        return memory.ToArray();
    }

    private SafeFileHandle Write(byte[] archive)
    {
        string path = Path.Combine(_folder, "names.npz");
        File.WriteAllBytes(path, archive);
        return File.OpenHandle(path);
    }

    [Test]
    public void NamesAndShapesThatExceedASafetensorsHeaderAreRefused()
    {
        string shape = string.Join(", ", Enumerable.Repeat("1", 64));
        byte[] array = Archives.Npy($"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape})}}", new byte[4]);
        (string, byte[])[] entries = [.. Enumerable.Range(0, 62_000).Select(i => ($"{i}.npy", array))];
        string path = Path.Combine(_folder, "names.npz");
        File.WriteAllBytes(path, Archives.Zip(entries));
        Assert.That(
            () => NpzReader.Copy(path, new MemorySink(), Limits with { MaxTensors = 62_000 }),
            Throws.TypeOf<InvalidModelException>().With.Message.Match(
                @"^the names and shapes of its tensors may take \d+ bytes in a header; at most 90000000 were expected\.$"));
    }

    [Test]
    public void AnInvalidArchiveIsRefusedWithAReason()
    {
        byte[] array = Archives.Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2,)}", new byte[8]);
        Expect(Archives.Zip(("0", array)), "the archive's entry '0' is not an array; names that end in .npy were expected.");
        Expect(Archives.Zip(("__metadata__.npy", array)), "the name of tensor '__metadata__' is reserved.");
        Expect(Archives.Zip(("0.npy", array), ("0.npy", array)), "the archive has two entries '0.npy'.");
        Expect(Archives.Zip(("0.npy", [])), "tensor '0' does not begin with a .npy header.");
        Expect(Archives.Zip(), "the archive has no entries.");
        Expect(
            [.. Enumerable.Repeat((byte)'x', 100)],
            "the archive is not an npz file: it has no directory at its end; it may be truncated.");
        byte[] whole = Archives.Zip(("0.npy", array));
        int record = whole.AsSpan().LastIndexOf("PK\u0001\u0002"u8);
        Expect(Changed(record + 8, 1), "the archive's entry '0.npy' is encrypted.");
        Expect(
            Changed(record + 10, 12), "the archive's entry '0.npy' is packed by method 12; 0 (stored) or 8 (deflated) was expected.");
        byte[] otherChecksum = Changed(record + 16, (byte)~whole[record + 16]);
        byte[] otherLength = Changed(record + 24, (byte)(whole[record + 24] - 1));
        const string Contradiction =
            "the archive is not an npz file: the header of its entry '0.npy' states another size or checksum than its directory.";
        Expect(otherChecksum, Contradiction);
        Expect(otherLength, Contradiction);
        otherChecksum[14] = otherChecksum[record + 16];
        otherLength[22] = otherLength[record + 24];
        Expect(otherChecksum, "tensor '0' does not have the checksum that the archive states.");
        Expect(otherLength, "tensor '0' has 7 bytes; F32 [2] takes 8.");
        (string, byte[])[] many = [.. Enumerable.Range(0, 101).Select(i => ($"{i}.npy", array))];
        Expect(Archives.Zip(many), "the archive has 101 entries; at most 100 were expected.");

        byte[] Changed(int at, byte value)
        {
            byte[] changed = [.. whole];
            changed[at] = value;
            return changed;
        }
    }

    [Test]
    public void ReadsZip64()
    {
        byte[] archive = Archives.OneArray();
        int record = archive.AsSpan().IndexOf("PK\u0001\u0002"u8), end = archive.AsSpan().IndexOf("PK\u0005\u0006"u8);
        // a record whose sizes and offset are in its zip64 field; then the zip64 end, its locator, and the ordinary end
        byte[] wide = [1, 0, 24, 0, .. Long(Word(record + 24)), .. Long(Word(record + 20)), .. Long(0)];
        byte[] head = archive[record..end];
        head.AsSpan(20, 8).Fill(0xff);
        head.AsSpan(42, 4).Fill(0xff);
        head[30] = (byte)wide.Length;
        byte[] directory = [.. head, .. wide];
        byte[] end64 =
        [
            .. "PK\u0006\u0006"u8, .. Long(44), 45, 0, 45, 0, .. new byte[8], .. Long(1), .. Long(1), .. Long(directory.Length),
            .. Long(record),
        ];
        byte[] locator = [.. "PK\u0006\u0007"u8, .. new byte[4], .. Long(record + directory.Length), 1, 0, 0, 0];
        byte[] old = archive[end..];
        old.AsSpan(8, 12).Fill(0xff);
        byte[] zip64 = [.. archive[..record], .. directory, .. end64, .. locator, .. old];
        using MemorySink read = Read(zip64);
        Assert.That(read.Model.Tensors, Is.EqualTo(new[] { new TensorInfo("0", DType.F32, new TensorShape(2)) }));
        Expect([.. archive[..record], .. directory, .. end64, .. old], "the archive is not an npz file: its zip64 directory is missing.");

        uint Word(int at) => BinaryPrimitives.ReadUInt32LittleEndian(archive.AsSpan(at));
        static byte[] Long(long value) => BitConverter.GetBytes(value);
    }

    [Test]
    public void EntriesThatShareTheirBytesAreRefused()
    {
        byte[] array = Archives.Npy("{'descr': '|u1', 'fortran_order': False, 'shape': (100000,)}", new byte[100_000]);
        var random = new Random(1);
        random.NextBytes(array.AsSpan(array.Length - 100_000));
        byte[] archive = Archives.Zip([.. Enumerable.Range(0, 5).Select(i => ($"{i}.npy", i == 0 ? array : array[..^1]))]);
        // keeps only the first entry's bytes and points all records to them
        int start = archive.AsSpan().IndexOf("PK\u0001\u0002"u8), second = archive.AsSpan(4).IndexOf("PK\u0003\u0004"u8) + 4;
        byte[] bomb = [.. archive.AsSpan(0, second), .. archive.AsSpan(start)];
        for (int at = second; at < bomb.Length - 22;)
        {
            archive.AsSpan(start + 16, 12).CopyTo(bomb.AsSpan(at + 16));
            BinaryPrimitives.WriteInt32LittleEndian(bomb.AsSpan(at + 42), 0);
            at += 46 + BinaryPrimitives.ReadUInt16LittleEndian(bomb.AsSpan(at + 28)) +
                BinaryPrimitives.ReadUInt16LittleEndian(bomb.AsSpan(at + 30));
        }

        BinaryPrimitives.WriteInt32LittleEndian(bomb.AsSpan(bomb.Length - 6), second);
        Expect(bomb, "the archive is not an npz file: its entries overlap.");
    }

    [Test]
    public void TenThousandInvalidArchivesLeakNothing()
    {
        var random = new Random(20261125);
        byte[][] originals =
        [
            Archives.Of(Archives.Model(6)), Archives.OneArray(), Archives.OneArray(version: 3),
            Archives.OneArray("'<f8'", "False", "(1, 1)"),
        ];
        string path = Path.Combine(_folder, "fuzz.npz");
        var sink = new CountingSink();
        int refused = 0;
        long memory = 0;
        for (int i = 0; i < 10_100; i++)
        {
            // the first hundred warm up
            if (i == 100)
                memory = GC.GetTotalMemory(forceFullCollection: true);
            byte[] archive = [.. originals[i % originals.Length]];
            int changes = random.Next(1, 6);
            for (int change = 0; change < changes; change++)
            {
                // half of the changes are at the end, where the directory is
                int at = random.Next(2) == 0
                    ? random.Next(archive.Length) : archive.Length - 1 - random.Next(Math.Min(120, archive.Length));
                archive[at] = (byte)(random.Next(3) == 0 ? 0xff : random.Next(256));
            }

            if (random.Next(4) == 0)
                archive = archive[..random.Next(archive.Length)];
            File.WriteAllBytes(path, archive);
            try
            {
                NpzReader.Copy(path, sink, Limits);
            }
            catch (InvalidModelException e)
            {
                refused++;
                if (!char.IsAsciiLetterLower(e.Message[0]) || !e.Message.EndsWith('.') || e.Message.Length > 1000)
                    Assert.Fail(e.Message);
            }
        }

        Assert.That(sink.Open, Is.Zero, "each begun model is committed or aborted");
        Assert.That(refused, Is.GreaterThan(5000));
        Assert.That(OpenFiles(), Is.Empty);
        Assert.That(GC.GetTotalMemory(forceFullCollection: true), Is.LessThan(memory + (8 << 20)));
    }

    /// <summary>Lists the open files of this test's folder; other tests of the process open files too.</summary>
    private string[] OpenFiles() => !Directory.Exists("/proc/self/fd") ? []
        : [.. Directory.GetFileSystemEntries("/proc/self/fd").Select(handle => new FileInfo(handle).LinkTarget).OfType<string>()
            .Where(name => name.StartsWith(_folder, StringComparison.Ordinal))];

    private void Expect(byte[] archive, string? message)
    {
        if (message is null)
            Assert.That(() => Read(archive).Dispose(), Throws.Nothing);
        else
            Assert.That(() => Read(archive), Throws.TypeOf<InvalidModelException>().With.Message.EqualTo(message));
    }

    private MemorySink Read(byte[] archive)
    {
        string path = Path.Combine(_folder, "read.npz");
        File.WriteAllBytes(path, archive);
        var sink = new MemorySink();
        NpzReader.Copy(path, sink, Limits);
        return sink;
    }

    private sealed class CountingSink : TensorSink
    {
        public int Open { get; private set; }

        public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata) => Open++;

        public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source) { }

        public override void Commit() => Open--;

        public override void Abort() => Open--;
    }
}
