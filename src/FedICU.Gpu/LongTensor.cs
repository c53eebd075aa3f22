using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Gpu;

/// <summary>Rounds of one large BF16 matrix that lies on the device, held against the processor: FedAvg to the last bit, FedICU to a unit in the last place.</summary>
internal static unsafe class LongTensor
{
    public const int Columns = 2048;

    private const int Block = 1 << 20, Clients = 2;

    /// <summary>Bytes that the trial takes on the device, and twice as many on the host at most.</summary>
    public static long BytesOf(long rows) => (Clients + 2) * rows * Columns * sizeof(ushort);

    /// <summary>Tries a matrix of so many rows; null, or what is wrong.</summary>
    public static string? Try(GpuBackend backend, long rows)
    {
        var info = new TensorInfo("long", DType.BF16, new TensorShape(rows, Columns));
        using NativeBuffer first = Fill(info, 1), second = Fill(info, 2);
        MemoryModel[] models = [[], []];
        models[0].Add(info, (nint)first.Pointer);
        models[1].Add(info, (nint)second.Pointer);
        using DeviceTensors firstThere = DeviceTensors.CopyOf(models[0], backend), secondThere = DeviceTensors.CopyOf(models[1], backend);
        foreach (string strategy in (string[])["fedavg", "fedicu"])
        {
            using var expected = new MemorySink();
            using var actual = new DeviceSink(backend);
            LongSums.Aggregate(strategy, models, new SimdBackend(), expected);
            LongSums.Aggregate(strategy, [firstThere, secondThere], backend, actual);
            if (FirstWrong(expected.Model, actual.Model, info, strategy == "fedavg" ? 0 : 1) is { } index)
                return $"{strategy} of {info}: element {index} is wrong.";
        }

        return null;
    }

    /// <summary>Random values of magnitude 1/8 to 1/4, of which no two blocks are the same: an index that is cut short is seen.</summary>
    private static NativeBuffer Fill(TensorInfo info, int seed)
    {
        var random = new Random(seed);
        ushort[] values = new ushort[Block];
        for (int i = 0; i < Block; i++)
            values[i] = (ushort)(0x3E00 | random.Next(0x80) | random.Next(4) / 3 << 15);
        var all = new NativeBuffer(info.ByteLength);
        Parallel.For(0, (info.ElementCount + Block - 1) / Block, block =>
        {
            // of the fraction's seven bits
            ulong change = (ulong)(new Random((int)block * 7 + seed).Next(0x80)) * 0x0001_0001_0001_0001;
            int count = (int)Math.Min(Block, info.ElementCount - block * Block);
            Span<ulong> target = MemoryMarshal.Cast<ushort, ulong>(new Span<ushort>((ushort*)all.Pointer + block * Block, count));
            ReadOnlySpan<ulong> source = MemoryMarshal.Cast<ushort, ulong>(values);
            for (int i = 0; i < target.Length; i++)
                target[i] = source[i] ^ change;
        });
        return all;
    }

    private static long? FirstWrong(TensorSource expected, TensorSource actual, TensorInfo info, int allowed)
    {
        byte[] one = new byte[sizeof(ushort) * Block], other = new byte[sizeof(ushort) * Block];
        for (long start = 0; start < info.ElementCount; start += Block)
        {
            int count = (int)Math.Min(Block, info.ElementCount - start);
            expected.Read(info, start * sizeof(ushort), one.AsSpan(0, count * sizeof(ushort)));
            actual.Read(info, start * sizeof(ushort), other.AsSpan(0, count * sizeof(ushort)));
            if (one.AsSpan().SequenceEqual(other))
                continue;
            ReadOnlySpan<short> right = MemoryMarshal.Cast<byte, short>(one), made = MemoryMarshal.Cast<byte, short>(other);
            for (int i = 0; i < count; i++)
            {
                if (Math.Abs(Order(right[i]) - Order(made[i])) > allowed)
                    return start + i;
            }
        }

        return null;
    }

    // neighbours differ by one, on both sides of zero
    private static int Order(short bits) => bits < 0 ? -(bits & 0x7FFF) : bits;
}
