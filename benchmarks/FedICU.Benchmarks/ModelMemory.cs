using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;

namespace FedICU.Benchmarks;

/// <summary>
/// Models of random values side by side in native memory. Tensors are aligned to 64 bytes and lie on huge pages if the
/// system provides them.
/// </summary>
public sealed unsafe partial class ModelMemory : IDisposable
{
    // bytes of a huge page on x86-64 Linux
    private const int HugePage = 2 << 20;

    // MADV_HUGEPAGE of Linux
    private const int AdviseHugePage = 14;

    // bytes that a thread fills; chosen: no power of two, because models at such distances would share the same cache
    // sets
    private const int Piece = (1 << 20) + 4160;

    private readonly TensorInfo[] _tensors;
    private readonly byte* _data;

    /// <summary>
    /// Creates models of values with magnitudes of 1/16 to 1/8. Two of three clients share their signs, so that cosines
    /// and FedICU's weights differ.
    /// </summary>
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

    /// <summary>The number of models in the memory.</summary>
    public int Models { get; }

    /// <summary>The bytes from one model to the next, a multiple of 64.</summary>
    public long Length { get; }

    public byte* Data(int model) => _data + model * Length;

    /// <summary>
    /// Creates a model for each client. If there are more clients than models, each client's model starts at another
    /// offset of the same memory. A round then reads the bytes that two clients share at different times, when no cache
    /// holds them any more.
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

    /// <summary>
    /// Fills a model with random signs and mantissas and a fixed exponent. One loop serves all types.
    /// </summary>
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
            {
                (own, shared) = (Next(own), Next(shared));
                Vector512<uint> bits = (own & Vector512.Create(mantissas)) | (shared & Vector512.Create(signs));
                (bits | Vector512.Create(exponent)).Store((uint*)at);
            }
        });
    }

    private static Vector512<uint> Seed(int stream, int piece)
    {
        var random = new Random(HashCode(stream, piece));
        return Vector512.Create([.. Enumerable.Range(0, Vector512<uint>.Count).Select(_ => (uint)random.Next(1, int.MaxValue))]);

        // not System.HashCode, which has another seed in each process
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
