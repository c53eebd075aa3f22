using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using System.Text;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// The fingerprint of a model's tensors. Names, types, shapes and data enter; metadata, the order in a file and the sharding do not.
/// </summary>
public static class ModelDigest
{
    /// <summary>What stands for a digest that is not known yet: as long as every other.</summary>
    internal static readonly string Unknown = Prefix + new string('0', 2 * SHA256.HashSizeInBytes);

    private const string Prefix = "sha256:";
    private const int PanelBytes = 1 << 20;

    // a lent tensor is hashed in place, in pieces that let a cancellation through
    private const int PinnedPieceBytes = 1 << 26;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>
    /// SHA-256 over, for each tensor in the byte order of its UTF-8 name: u32 LE length of the name, the name, u8 length of the type's name in
    /// safetensors, that name, u32 LE rank, u64 LE dimensions, the 32-byte SHA-256 of the raw little-endian data.
    /// </summary>
    /// <param name="model">The model; read once, several tensors at a time.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns><c>sha256:</c> and 64 lower-case hexadecimal digits.</returns>
    /// <exception cref="InvalidModelException">The data cannot be read, or a name is no valid Unicode.</exception>
    public static string Compute(TensorSource model, CancellationToken cancellationToken = default) => Compute(model, threads: 0, cancellationToken);

    /// <param name="model">The model.</param>
    /// <param name="threads">How many threads read and hash at most; 0: one for each processor.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <inheritdoc cref="Compute(TensorSource, CancellationToken)"/>
    internal static string Compute(TensorSource model, int threads, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        byte[][] dataHashes = new byte[model.Tensors.Count][];
        try
        {
            Parallel.For(0, dataHashes.Length, new ParallelOptions { CancellationToken = cancellationToken, MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount },
                i => dataHashes[i] = HashData(model, model.Tensors[i], cancellationToken));
        }
        catch (AggregateException e)
        {
            // several threads may have met the same truncated file: one sentence is enough
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }

        model.RequireUnchanged();
        return Of(model, dataHashes);
    }

    /// <summary>The digest of a model whose tensors' data were hashed before, in the order of its tensors.</summary>
    internal static string Of(TensorSource model, byte[][] dataHashes)
    {
        IReadOnlyList<TensorInfo> tensors = model.Tensors;
        var order = new (byte[] Name, int At)[tensors.Count];
        for (int i = 0; i < order.Length; i++)
            order[i] = (NameOf(tensors[i], model), i);
        Array.Sort(order, (a, b) => a.Name.AsSpan().SequenceCompareTo(b.Name));

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, at) in order)
        {
            AppendHead(hash, name, tensors[at]);
            hash.AppendData(dataHashes[at]);
        }

        return Prefix + Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Whether a text has a digest's form.</summary>
    internal static bool IsDigest(string text) =>
        text.Length == Unknown.Length && text.StartsWith(Prefix, StringComparison.Ordinal) && text[Prefix.Length..].All(char.IsAsciiHexDigitLower);

    private static byte[] NameOf(TensorInfo tensor, TensorSource model) => Sentence.IsUnicode(tensor.Name)
        ? Utf8.GetBytes(tensor.Name)
        : throw new InvalidModelException(
            $"'{model.Location}': tensor {Sentence.Quote(tensor.Name)} has a name with half of a surrogate pair.");

    private static void AppendHead(IncrementalHash hash, byte[] name, TensorInfo tensor)
    {
        Span<byte> number = stackalloc byte[sizeof(ulong)];
        BinaryPrimitives.WriteUInt32LittleEndian(number, (uint)name.Length);
        hash.AppendData(number[..sizeof(uint)]);
        hash.AppendData(name);

        byte[] dtype = Encoding.ASCII.GetBytes(tensor.DType.SafetensorsName);
        hash.AppendData([(byte)dtype.Length]);
        hash.AppendData(dtype);

        BinaryPrimitives.WriteUInt32LittleEndian(number, (uint)tensor.Shape.Rank);
        hash.AppendData(number[..sizeof(uint)]);
        foreach (long dimension in tensor.Shape.Dimensions)
        {
            BinaryPrimitives.WriteUInt64LittleEndian(number, (ulong)dimension);
            hash.AppendData(number);
        }
    }

    /// <summary>The SHA-256 of one tensor's data.</summary>
    internal static unsafe byte[] HashData(TensorSource model, TensorInfo tensor, CancellationToken cancellationToken)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        long length = tensor.ByteLength;
        if (model.TryPin(tensor, out MemoryHandle memory))
        {
            using (memory)
            {
                for (long at = 0; at < length; at += PinnedPieceBytes)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    hash.AppendData(new ReadOnlySpan<byte>((byte*)memory.Pointer + at, (int)Math.Min(PinnedPieceBytes, length - at)));
                }
            }

            return hash.GetHashAndReset();
        }

        byte[] panel = ArrayPool<byte>.Shared.Rent(PanelBytes);
        try
        {
            for (long at = 0; at < length; at += PanelBytes)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Span<byte> piece = panel.AsSpan(0, (int)Math.Min(PanelBytes, length - at));
                model.Read(tensor, at, piece);
                hash.AppendData(piece);
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(panel);
        }

        return hash.GetHashAndReset();
    }
}
