using System.Buffers.Binary;
using System.Text;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>
/// Mutated files, including the eight bytes of the header's length. Opening one gives a message or a readable model,
/// and allocates a small multiple of the file's length.
/// </summary>
public sealed class HostileFileTests
{
    private const int Files = 20_000;

    // Bytes that opening a file may allocate: for the handle, the exception and its message, plus a multiple of the
    // file's length.
    private const int FixedBytes = 32 << 10;
    private const int PerByte = 32;

    private static readonly byte[][] Seeds =
    [
        FileOf("{}", 0),
        FileOf("""{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}""", 16),
        FileOf(
            """{"__metadata__":{"fedicu.update":"sparse","num_examples":"12"},"w#values":{"dtype":"BF16","shape":""" +
            """[3],"data_offsets":[0,6]},"w#mask":{"dtype":"U8","shape":[1],"data_offsets":[6,7]}}   """,
            7),
        FileOf(
            """{"z":{"dtype":"I64","shape":[],"data_offsets":[4,12]},"b":{"dtype":"BOOL","shape":[4],"data_offsets":""" +
            """[0,4]},"e":{"dtype":"F64","shape":[0],"data_offsets":[12,12]}}""",
            12),
    ];

    private static readonly ulong[] Lengths = [0, 1, 2, 7, 8, 100_000_000, 100_000_001, int.MaxValue, 1UL << 31, uint.MaxValue, 1UL << 32,
        long.MaxValue, 1UL << 63, ulong.MaxValue];

    [Test]
    public void TwentyThousandMutatedFilesGiveAMessageOrAWholeModel()
    {
        // All mutations use one file, in memory if there is a file system for it.
        using var folder = new TempFolder();
        string path = Directory.Exists("/dev/shm") ? Path.Combine("/dev/shm", Path.GetFileName(folder.FullName)) : folder["m.safetensors"];
        byte[] current = [];
        int accepted = 0;
        string? failure = null;
        // If opening a file does not return, the separate thread lets the test end and report the file.
        var fuzz = new Thread(() => failure = Run(path, ref current, ref accepted)) { IsBackground = true };
        fuzz.Start();
        bool ended = fuzz.Join(TimeSpan.FromMinutes(2));
        File.Delete(path);
        TestContext.Out.WriteLine($"{accepted} accepted");
        Assert.That(ended, $"did not return within two minutes for {Convert.ToHexString(current)}");
        Assert.That(failure, Is.Null);
        Assert.That(accepted, Is.InRange(1000, Files - 1000), "some mutations must leave a file whole, and some must not");
    }

    /// <summary>Returns a description of the failure, or null.</summary>
    private static string? Run(string path, ref byte[] current, ref int accepted)
    {
        var random = new Random(20241124);
        byte[] read = new byte[1 << 12];
        using FileStream file = new(path, FileMode.Create, FileAccess.Write, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        for (int i = 0; i < Files; i++)
        {
            byte[] bytes = current = Mutate(Seeds[random.Next(Seeds.Length)], random);
            file.Position = 0;
            file.Write(bytes);
            file.SetLength(bytes.Length);
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                using SafetensorsFile model = SafetensorsFile.Open(path, i % 2 == 0 ? FileAccessMode.Read : FileAccessMode.Mapped);
                foreach (TensorInfo tensor in model.Tensors)
                    model.Read(tensor, 0, read.AsSpan(0, checked((int)tensor.ByteLength)));
                accepted++;
            }
            catch (InvalidModelException e)
            {
                if (!e.Message.StartsWith($"'{path}'", StringComparison.Ordinal) || !e.Message.EndsWith('.') || e.Message.Length > 1000
                    || e.Message.Contains('\n'))
                    return $"{e.Message} for {Convert.ToHexString(bytes)}";
            }
#pragma warning disable CA1031 // any other exception is a failure of this test
            catch (Exception e)
#pragma warning restore CA1031
            {
                return $"{e} for {Convert.ToHexString(bytes)}";
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > FixedBytes + PerByte * bytes.Length)
                return $"{allocated} bytes allocated for {Convert.ToHexString(bytes)}";
        }

        return null;
    }

    private static byte[] Mutate(byte[] seed, Random random)
    {
        List<byte> file = [.. seed];
        for (int n = random.Next(4); n > 0; n--)
        {
            int at = random.Next(file.Count + 1), length = random.Next(1, 10);
            switch (random.Next(9))
            {
                case 0 when file.Count >= 8:
                    SetLength(file, Lengths[random.Next(Lengths.Length)]);
                    break;
                case 1 when file.Count >= 8:
                    SetLength(file, (ulong)(file.Count - 8 + random.Next(-3, 4)));
                    break;
                case 2 when file.Count >= 8:
                    file[random.Next(8)] ^= (byte)(1 << random.Next(8));
                    break;
                case 3 when at < file.Count:
                    file[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 4 when at < file.Count:
                    file[at] = (byte)('0' + random.Next(10));
                    break;
                case 5:
                    file.RemoveRange(at, file.Count - at);
                    break;
                case 6:
                    file.AddRange(new byte[length]);
                    break;
                case 7 when at >= 8:
                    // Inserts a piece into the header and adjusts the length.
                    file.InsertRange(at,
                        Encoding.UTF8.GetBytes(((string[])[" ", ",", "[", "0", "\"a\":{}", "\u4e2d", "\\u0000"])[random.Next(7)]));
                    SetLength(file, BinaryPrimitives.ReadUInt64LittleEndian(seed) + (ulong)(file.Count - seed.Length));
                    break;
                default:
                    file.RemoveRange(at, Math.Min(length, file.Count - at));
                    break;
            }
        }

        return [.. file];
    }

    private static void SetLength(List<byte> file, ulong length)
    {
        for (int i = 0; i < 8; i++)
            file[i] = (byte)(length >> 8 * i);
    }
}
