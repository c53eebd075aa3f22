using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedICU.Benchmarks;

/// <summary>Models of random values side by side in native memory, their tensors aligned to 64 bytes, on huge pages where the system lends them.</summary>
public sealed unsafe partial class ModelMemory : IDisposable
{
    private const int HugePage = 2 << 20, AdviseHugePage = 14;

    // an odd number of no power of two: models that lie such distances from each other would share the caches' sets
    private const int Piece = (1 << 20) + 4160;

    private readonly TensorInfo[] _tensors;
    private readonly byte* _data;

    /// <summary>Values of magnitude 1/16 to 1/8. The signs of two clients in three are the same, so that cosines and FedICU's weights differ.</summary>
    public ModelMemory(Layout layout, DType dtype, int firstClient, int clients)
    {
        _tensors = [.. layout.Tensors.Select(tensor => new TensorInfo(tensor.Name, dtype, new TensorShape(tensor.Rows, tensor.Columns)))];
        (Length, Models) = (((_tensors.Sum(tensor => Align(tensor.ByteLength)) + Piece - 1) / Piece | 1) * Piece, clients);
        _data = (byte*)NativeMemory.AlignedAlloc((nuint)(Length * clients), HugePage);
        if (OperatingSystem.IsLinux())
            _ = Advise(_data, (nuint)(Length * clients), AdviseHugePage);
        for (int i = 0; i < clients; i++)
            Fill(_data + i * Length, dtype, firstClient + i);
    }

    /// <summary>How many models there is memory for.</summary>
    public int Models { get; }

    /// <summary>The bytes from one model to the next, a multiple of 64.</summary>
    public long Length { get; }

    public byte* Data(int model) => _data + model * Length;

    /// <summary>
    /// A model for each client. Where there are more clients than models, each begins elsewhere in the same memory: what two of them share, a round reads for the one long after
    /// the other, when no cache holds it any more.
    /// </summary>
    public MemoryModel[] ModelsOf(int clients)
    {
        long step = clients <= Models ? Length : Align((Models - 1) * Length / clients);
        return [.. Enumerable.Range(0, clients).Select(client => ModelAt(client * step))];
    }

    public void Dispose() => NativeMemory.AlignedFree(_data);

    private MemoryModel ModelAt(long offset)
    {
        var model = new MemoryModel();
        foreach (TensorInfo tensor in _tensors)
        {
            model.Add(tensor, (nint)(_data + offset));
            offset += Align(tensor.ByteLength);
        }

        return model;
    }

    private static long Align(long bytes) => (bytes + 63) & ~63L;

    /// <summary>Random signs and mantissas beside a fixed exponent: one loop for all types.</summary>
    private void Fill(byte* data, DType dtype, int client)
    {
        (uint signs, uint mantissas, uint exponent) = dtype switch
        {
            DType.F32 => (0x80000000u, 0x007FFFFFu, 0x3D800000u),
            DType.F16 => (0x80008000u, 0x03FF03FFu, 0x2C002C00u),
            _ => (0x80008000u, 0x007F007Fu, 0x3D803D80u),
        };
        int signOf = client % 3 == 0 ? client : -1;
        Parallel.For(0, (int)(Length / Piece), piece =>
        {
            Vector512<uint> own = Seed(client, piece), shared = Seed(signOf, piece);
            for (byte* at = data + (long)piece * Piece, end = at + Piece; at < end; at += Vector512<byte>.Count)
                (((own = Next(own)) & Vector512.Create(mantissas)) | ((shared = Next(shared)) & Vector512.Create(signs)) | Vector512.Create(exponent)).Store((uint*)at);
        });
    }

    private static Vector512<uint> Seed(int stream, int piece)
    {
        var random = new Random(HashCode(stream, piece));
        return Vector512.Create([.. Enumerable.Range(0, Vector512<uint>.Count).Select(_ => (uint)random.Next(1, int.MaxValue))]);

        // System.HashCode is seeded anew in each process
        static int HashCode(int a, int b) => (a * 486187739) ^ b;
    }

    private static Vector512<uint> Next(Vector512<uint> x)
    {
        x ^= x << 13;
        x ^= x >>> 17;
        return x ^ (x << 5);
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* address, nuint length, int advice);
}
