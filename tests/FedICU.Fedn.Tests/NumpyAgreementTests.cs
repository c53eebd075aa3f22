using System.Buffers.Binary;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using System.Text;
using FedICU.Fedn.Npz;
using FedICU.Tests;

namespace FedICU.Fedn.Tests;

/// <summary>
/// Tests that numpy loads the same arrays from every archive that the reader accepts, and which archives each refuses.
/// </summary>
internal sealed class NumpyAgreementTests
{
    private const string Refused = "refused";

    // prints a line for each file: its name and what numpy loads from it
    private const string Script = """
        import hashlib, os, sys, warnings
        import numpy as np
        warnings.simplefilter('ignore')
        for name in sorted(os.listdir(sys.argv[1])):
            try:
                with np.load(os.path.join(sys.argv[1], name), allow_pickle=False) as archive:
                    lines = []
                    for key in archive.files:
                        array = archive[key]
                        array = array.astype(array.dtype.newbyteorder('<'))
                        shape = ','.join(str(dimension) for dimension in array.shape)
                        content = hashlib.sha256(array.tobytes()).hexdigest()
                        lines.append(f'{key.encode("utf-8").hex()} {array.dtype.str} [{shape}] {content}')
                print(name, ' | '.join(lines))
            except Exception:
                print(name, 'refused')
        """;

    private static readonly NpzLimits Limits = new(100, 1 << 24, 1000);

    private string _folder = "";

    [SetUp]
    public void CreateFolder() => _folder = Directory.CreateTempSubdirectory("fedicu-numpy-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    /// <summary>The table of what is accepted here and by numpy.</summary>
    [Test]
    public void ATableOfArchives()
    {
        byte[] array = Array(), archive = Archives.Zip(("0.npy", array)), two = Archives.Zip(("0.npy", array), ("1.npy", Array(seed: 2)));
        int record = archive.AsSpan().IndexOf("PK\u0001\u0002"u8), end = archive.Length - 22;
        (string What, byte[] Archive, bool Here, bool Numpy)[] table =
        [
            // the header of an array
            ("as numpy writes it", archive, true, true),
            ("a tuple with a comma at its end", Shape("(2, 3,)"), true, true),
            ("a tuple of one", Shape("(6,)"), true, true),
            ("an empty tuple", Shape("()", count: 1), true, true),
            ("a number in parentheses", Shape("(6)"), false, false),
            ("a list", Shape("[2, 3]"), false, false),
            ("numbers without a comma", Shape("(2 3)"), false, false),
            ("two commas", Shape("(2,, 3)"), false, false),
            ("a comma alone", Shape("(,)", count: 1), false, false),
            ("Python 2's long integers", Shape("(2L, 3L)"), true, true),
            ("long integers in version 3", Shape("(2L, 3L)", version: 3), false, false),
            ("a leading zero", Shape("(02, 3)"), false, false),
            ("a negative dimension", Shape("(-2, -3)"), false, false),
            ("a sign", Shape("(+2, 3)"), false, true),
            ("a hexadecimal dimension", Shape("(0x2, 3)"), false, true),
            ("a truth value as dimension", Shape("(True, 6)"), false, false),
            ("a fraction", Shape("(2.0, 3)"), false, false),
            ("no spaces", Header("{'descr':'<f4','fortran_order':False,'shape':(2,3)}"), true, true),
            ("double quotes", Header("{\"descr\": \"<f4\", \"fortran_order\": False, \"shape\": (2, 3)}"), true, true),
            ("another order of the keys", Header("{'shape': (2, 3), 'fortran_order': False, 'descr': '<f4'}"), true, true),
            ("lines", Header("{'descr': '<f4',\n 'fortran_order': False,\n\t'shape': (2, 3)}"), true, true),
            ("a comment", Header("{'descr': '<f4', 'fortran_order': False, # no\n'shape': (2, 3)}"), false, true),
            ("a space before it", Header(" {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"), false, true),
            ("text after it", Header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)} x"), false, false),
            ("a key twice", Header("{'descr': '<f8', 'descr': '<f4', 'fortran_order': False, 'shape': (2, 3)}"), false, true),
            ("one key more", Header("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), 'x': 1}"), false, false),
            ("one key fewer", Header("{'descr': '<f4', 'shape': (2, 3)}"), false, false),
            ("0 as order", Header("{'descr': '<f4', 'fortran_order': 0, 'shape': (2, 3)}"), false, false),
            ("Fortran order", Header("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 3)}"), false, true),
            ("Fortran order of one dimension", Header("{'descr': '<f4', 'fortran_order': True, 'shape': (6,)}"), true, true),
            ("another name of the type", Header("{'descr': 'float32', 'fortran_order': False, 'shape': (2, 3)}"), false, true),
            ("objects", Header("{'descr': '|O', 'fortran_order': False, 'shape': (2, 3)}"), false, false),
            ("version 1.1", Version(1, 1), false, false),
            ("version 2.0", Version(2, 0), true, true),
            ("version 3.0", Version(3, 0), true, true),
            ("version 4.0", Version(4, 0), false, false),
            ("version 0.0", Version(0, 0), false, false),
            ("too few values", Archives.Zip(("0.npy", array[..^4])), false, false),
            ("too many values", Archives.Zip(("0.npy", [.. array, .. new byte[4]])), false, true),

            // the archive
            ("two arrays", two, true, true),
            ("a name twice", Archives.Zip(("0.npy", array), ("0.npy", array)), false, true),
            ("a name with its ending twice", Archives.Zip(("0.npy.npy", array)), false, true),
            ("no ending", Archives.Zip(("0", array)), false, true),
            ("a name in UTF-8", Archives.Zip(("ä.npy", array)), true, true),
            ("a byte before it", [0, .. archive], false, false),
            ("a comment at its end", [.. archive[..^2], 1, 0, 65], false, true),
            ("fewer entries than the directory has", Changed(two, (two.Length - 14, 1), (two.Length - 12, 1)), false, true),
            ("more entries than the directory has", Changed(archive, (end + 8, 2), (end + 10, 2)), false, true),
            ("encrypted", Changed(archive, (record + 8, 1)), false, false),
            ("patched data", Changed(archive, (6, 0x20), (record + 8, 0x20)), false, false),
            ("strong encryption", Changed(archive, (6, 0x40), (record + 8, 0x40)), false, false),
            ("a later version of the format", Changed(archive, (record + 6, 64)), false, false),
            ("another method", Changed(archive, (8, 12), (record + 10, 12)), false, false),
            ("another checksum", Changed(archive, (record + 16, (byte)~archive[record + 16])), false, false),
            ("another name before the bytes", Changed(archive, (30, (byte)'1')), false, false),
            ("another size before the bytes", Changed(archive, (18, (byte)(archive[18] + 1))), false, true),
            ("another checksum before the bytes", Changed(archive, (14, (byte)~archive[14])), false, true),
            ("another method before the bytes", Changed(archive, (8, 0)), false, true),
            ("other flags before the bytes", Changed(archive, (6, 2)), false, true),
            ("no signature before the bytes", Changed(archive, (0, 0)), false, false),
            ("a data descriptor", WithDescriptor(zeros: true), true, true),
            ("a data descriptor with other sizes before the bytes", WithDescriptor(zeros: false), false, true),
            ("a directory after a gap", [.. archive[..record], 0, .. archive[record..]], false, false),
        ];
        foreach ((string what, byte[] bytes, _, _) in table)
            File.WriteAllBytes(Path.Combine(_folder, what), bytes);
        Dictionary<string, string> theirs = Load();
        Assert.Multiple(() =>
        {
            foreach ((string what, _, bool here, bool numpy) in table)
            {
                string ours = Read(Path.Combine(_folder, what));
                Assert.That(ours != Refused, Is.EqualTo(here), $"{what}: accepted here; {ours}");
                Assert.That(theirs[what] != Refused, Is.EqualTo(numpy), $"{what}: accepted by numpy; {theirs[what]}");
                if (here && numpy)
                    Assert.That(ours, Is.EqualTo(theirs[what]), what);
            }
        });
    }

    [Test]
    public void NumpysOwnArchivesAreRead()
    {
        const string Save = """
            import io, sys, zipfile
            import numpy as np
            class Pipe(io.RawIOBase):
                def __init__(self, path): self.file = open(path, 'wb')
                def writable(self): return True
                def seekable(self): return False
                def write(self, data): return self.file.write(data)
                def close(self): self.file.close()
            arrays = {'0': np.arange(12, dtype='f4').reshape(3, 4), '1': np.array(2.5), '2': np.zeros((0, 3), 'f2'), 'ä': np.arange(3)}
            np.savez(sys.argv[1] + '/seekable', **arrays)
            np.savez_compressed(sys.argv[1] + '/packed', **arrays)
            np.savez(Pipe(sys.argv[1] + '/pipe'), **arrays)
            np.savez_compressed(Pipe(sys.argv[1] + '/packedpipe'), **arrays)
            """;
        Assert.That(Tools.TryRun(Tools.PythonWithNumpy(), ["-c", Save, _folder], out string output), Is.Zero, output);
        Dictionary<string, string> theirs = Load();
        Assert.That(theirs, Has.Count.EqualTo(4));
        foreach ((string name, string content) in theirs)
            Assert.That(Read(Path.Combine(_folder, name)), Is.EqualTo(content).And.Not.EqualTo(Refused), name);
    }

    [Test]
    public void NumpyLoadsTheSameFromWhatIsAccepted()
    {
        var random = new Random(20261201);
        byte[][] originals =
        [
            Archives.Zip(("0.npy", Array()), ("1.npy", Array(seed: 3))), Archives.OneArray(), Archives.OneArray(version: 3),
            Stored(), WithDescriptor(zeros: true), Shape("(2L, 3L)"),
        ];
        var accepted = new Dictionary<string, string>();
        for (int i = 0; i < 6000; i++)
        {
            byte[] archive = [.. originals[i % originals.Length]];
            int record = archive.AsSpan().IndexOf("PK\u0001\u0002"u8);
            for (int changes = random.Next(1, 4); changes > 0; changes--)
            {
                // the records, the .npy header, and now and then any byte
                int at = random.Next(4) switch
                {
                    0 => random.Next(Math.Min(170, archive.Length)),
                    1 => random.Next(archive.Length),
                    _ => random.Next(record, archive.Length),
                };
                archive[at] = random.Next(3) switch
                {
                    0 => (byte)(archive[at] ^ (1 << random.Next(8))),
                    1 => (byte)"0123456789 ,()L\nTF'"[random.Next(19)],
                    _ => (byte)random.Next(256),
                };
            }

            string path = Path.Combine(_folder, i.ToString("d5", CultureInfo.InvariantCulture));
            File.WriteAllBytes(path, archive);
            string content = Read(path);
            if (content == Refused)
                File.Delete(path);
            else
                accepted.Add(Path.GetFileName(path), content);
        }

        Assert.That(accepted, Has.Count.GreaterThan(300), "most changes of dates and versions have no effect");
        Dictionary<string, string> theirs = Load();
        string[] different = [.. accepted.Where(entry => theirs[entry.Key] != entry.Value)
            .Select(entry => $"{entry.Key}: {entry.Value} here, {theirs[entry.Key]} in numpy")];
        Assert.That(different, Is.Empty);
    }

    /// <summary>Loads the folder's archives by numpy.</summary>
    private Dictionary<string, string> Load()
    {
        Assert.That(Tools.TryRun(Tools.PythonWithNumpy(), ["-X", "utf8", "-c", Script, _folder], out string output), Is.Zero, output);
        // names of files may have spaces; what numpy loads begins with hexadecimal digits
        string[] names = [.. Directory.GetFiles(_folder).Select(path => Path.GetFileName(path))];
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries).ToDictionary(
            line => names.Where(name => line.StartsWith(name + ' ', StringComparison.Ordinal)).MaxBy(name => name.Length)!,
            line => line[(names.Where(name => line.StartsWith(name + ' ', StringComparison.Ordinal)).Max(name => name.Length) + 1)..]);
    }

    /// <summary>Reads an archive here, in the form that the script prints.</summary>
    private static string Read(string path)
    {
        using var sink = new MemorySink();
        try
        {
            NpzReader.Copy(path, sink, Limits);
        }
        catch (InvalidModelException)
        {
            return Refused;
        }

        return string.Join(" | ", sink.Model.Tensors.Select(tensor =>
            $"{Convert.ToHexStringLower(Encoding.UTF8.GetBytes(tensor.Name))} {NumpyType(tensor)} " +
            $"[{string.Join(',', tensor.Shape.Dimensions.ToArray())}] " +
            Convert.ToHexStringLower(SHA256.HashData(Archives.Bytes(sink.Model, tensor)))));
    }

    private static string NumpyType(TensorInfo tensor)
    {
        string header = Encoding.Latin1.GetString(NpyHeader.Write(tensor));
        int start = header.IndexOf("'descr': '", StringComparison.Ordinal) + 10;
        return header[start..header.IndexOf('\'', start)];
    }

    private static byte[] Array(int seed = 1)
    {
        byte[] values = new byte[24];
        new Random(seed).NextBytes(values);
        return Archives.Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", values);
    }

    private static byte[] Shape(string shape, byte version = 1, int count = 6) =>
        Archives.OneArray(shape: shape, version: version, bytes: 4 * count);

    private static byte[] Header(string header) => Archives.Zip(("0.npy", Archives.Npy(header, new byte[24])));

    private static byte[] Version(byte major, byte minor)
    {
        byte[] array = Archives.Npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }", new byte[24], Math.Max(major, (byte)1));
        (array[6], array[7]) = (major, minor);
        return Archives.Zip(("0.npy", array));
    }

    private static byte[] Stored()
    {
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            using Stream entry = archive.CreateEntry("0.npy", CompressionLevel.NoCompression).Open();
            entry.Write(Array());
        }

        return memory.ToArray();
    }

    /// <summary>
    /// Makes an archive whose sizes follow the bytes; the header before them has zeros or other values.
    /// </summary>
    private static byte[] WithDescriptor(bool zeros)
    {
        byte[] stored = Stored();
        int record = stored.AsSpan().IndexOf("PK\u0001\u0002"u8);
        byte[] descriptor = [.. "PK\u0007\u0008"u8, .. stored[14..26]];
        stored[6] |= 8;
        stored[record + 8] |= 8;
        if (zeros)
            stored.AsSpan(14, 12).Clear();
        else
            stored[18]++;
        byte[] archive = [.. stored[..record], .. descriptor, .. stored[record..]];
        BinaryPrimitives.WriteInt32LittleEndian(archive.AsSpan(archive.Length - 6), record + descriptor.Length);
        return archive;
    }

    private static byte[] Changed(byte[] archive, params (int At, byte Value)[] changes)
    {
        byte[] changed = [.. archive];
        foreach ((int at, byte value) in changes)
            changed[at] = value;
        return changed;
    }
}
