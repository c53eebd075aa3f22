using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Gpu.Verification;

/// <summary>
/// Compares rounds of one large BF16 matrix on the device with the CPU's. FedAvg must have the same bits; FedICU may
/// differ by one unit in the last place.
/// </summary>
internal static unsafe class LongTensorCheck
{
    // Columns of the matrix; chosen.
    private const int Columns = 2048;

    // Rows of the matrix. Derived: 2^31 elements and three rows.
    private const long Rows = (1L << 31) / Columns + 3;

    // Elements that are filled or compared at once; chosen.
    private const int BlockLength = 1 << 20;

    private const int Clients = 2;

    /// <summary>Checks a matrix of more than 2^31 elements, if the device and the host have enough memory.</summary>
    /// <param name="backend">The backend.</param>
    /// <param name="freeDeviceBytes">The free memory of the device.</param>
    /// <param name="chunkBytes">The memory that the backend's own work takes.</param>
    /// <param name="reason">What is wrong, or which memory is missing; null if the results are right.</param>
    /// <returns>Whether the results are right; null if they were not checked.</returns>
    public static bool? Run(GpuBackend backend, long freeDeviceBytes, long chunkBytes, out string? reason)
    {
        long deviceBytes = DeviceBytes(Rows), hostBytes = 2 * deviceBytes;
        long freeHostBytes = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes;
        if (!backend.HasAddresses || freeDeviceBytes < deviceBytes + chunkBytes || freeHostBytes < hostBytes)
        {
            reason = $"{backend.Description}: tensors of more than 2^31 elements were not checked: this needs {deviceBytes >> 30} GiB of a "
                + $"CUDA device and {hostBytes >> 30} GiB of the host; {freeDeviceBytes >> 30} and {freeHostBytes >> 30} GiB were found.";
            return null;
        }

        reason = FindError(backend, Rows);
        return reason is null;
    }

    /// <summary>Runs the rounds on a matrix of any number of rows. Returns null, or what is wrong.</summary>
    public static string? FindError(GpuBackend backend, long rows)
    {
        var info = new TensorInfo("long", DType.BF16, new TensorShape(rows, Columns));
        using NativeBuffer first = CreateValues(info, 1), second = CreateValues(info, 2);
        MemoryModel[] models = [[], []];
        models[0].Add(info, (nint)first.Pointer);
        models[1].Add(info, (nint)second.Pointer);
        using DeviceTensors firstOnDevice = DeviceTensors.CopyOf(models[0], backend);
        using DeviceTensors secondOnDevice = DeviceTensors.CopyOf(models[1], backend);
        foreach (string strategy in (string[])["fedavg", "fedicu"])
        {
            using var expected = new MemorySink();
            using var actual = new DeviceSink(backend);
            LongSumCheck.Aggregate(strategy, models, new SimdBackend(), expected);
            LongSumCheck.Aggregate(strategy, [firstOnDevice, secondOnDevice], backend, actual);
            if (FindDifference(expected.Model, actual.Model, info, strategy == "fedavg" ? 0 : 1) is { } index)
                return $"{strategy} of {info}: element {index} is wrong.";
        }

        return null;
    }

    /// <summary>
    /// Returns the bytes that the check takes on the device; on the host it takes at most twice as much.
    /// </summary>
    private static long DeviceBytes(long rows) => (Clients + 2) * rows * Columns * sizeof(ushort);

    /// <summary>
    /// Creates random values of magnitude 1/8 to 1/4. A random pattern changes each block. If an index is cut to 32
    /// bits, a round reads the wrong block and gives wrong values.
    /// </summary>
    private static NativeBuffer CreateValues(TensorInfo info, int seed)
    {
        var random = new Random(seed);
        ushort[] values = new ushort[BlockLength];
        for (int i = 0; i < BlockLength; i++)
            values[i] = (ushort)(0x3E00 | random.Next(0x80) | random.Next(4) / 3 << 15);
        var buffer = new NativeBuffer(info.ByteLength);
        Parallel.For(0, (info.ElementCount + BlockLength - 1) / BlockLength, block =>
        {
            // changes the seven bits of each value's fraction, four values at a time
            ulong change = (ulong)(new Random((int)block * 7 + seed).Next(0x80)) * 0x0001_0001_0001_0001;
            int count = (int)Math.Min(BlockLength, info.ElementCount - block * BlockLength);
            var blockValues = new Span<ushort>((ushort*)buffer.Pointer + block * BlockLength, count);
            Span<ulong> target = MemoryMarshal.Cast<ushort, ulong>(blockValues);
            ReadOnlySpan<ulong> source = MemoryMarshal.Cast<ushort, ulong>(values);
            for (int i = 0; i < target.Length; i++)
                target[i] = source[i] ^ change;
        });
        return buffer;
    }

    /// <summary>
    /// Returns the index of the first element that differs by more than the allowed number of units in the last place.
    /// </summary>
    private static long? FindDifference(TensorSource expected, TensorSource actual, TensorInfo info, int allowed)
    {
        byte[] expectedBytes = new byte[sizeof(ushort) * BlockLength], actualBytes = new byte[sizeof(ushort) * BlockLength];
        for (long start = 0; start < info.ElementCount; start += BlockLength)
        {
            int count = (int)Math.Min(BlockLength, info.ElementCount - start);
            expected.Read(info, start * sizeof(ushort), expectedBytes.AsSpan(0, count * sizeof(ushort)));
            actual.Read(info, start * sizeof(ushort), actualBytes.AsSpan(0, count * sizeof(ushort)));
            if (expectedBytes.AsSpan().SequenceEqual(actualBytes))
                continue;
            ReadOnlySpan<short> right = MemoryMarshal.Cast<byte, short>(expectedBytes);
            ReadOnlySpan<short> computed = MemoryMarshal.Cast<byte, short>(actualBytes);
            for (int i = 0; i < count; i++)
            {
                if (Math.Abs(RankOf(right[i]) - RankOf(computed[i])) > allowed)
                    return start + i;
            }
        }

        return null;
    }

    /// <summary>
    /// Maps the bits of a BF16 number to an integer so that neighboring numbers differ by one, across zero too.
    /// </summary>
    private static int RankOf(short bits) => bits < 0 ? -(bits & 0x7FFF) : bits;
}
