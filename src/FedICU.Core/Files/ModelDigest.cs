using System.Buffers;
using System.Buffers.Binary;
using System.Runtime.ExceptionServices;
using System.Security.Cryptography;
using System.Text;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Computes the fingerprint of a model. It covers the tensors' names, types, shapes and data. It does not depend on the
/// metadata, the order of the tensors in a file, or the sharding.
/// </summary>
public static class ModelDigest
{
    /// <summary>Placeholder for a digest that is not known yet; it has the length of a real digest.</summary>
    internal static readonly string Unknown = Prefix + new string('0', 2 * SHA256.HashSizeInBytes);

    private const string Prefix = "sha256:";

    // bytes read at once from a source that does not lend its memory; chosen
    private const int PanelBytes = 1 << 20;

    // Bytes hashed in place between two checks for cancellation; chosen.
    private const int PinnedPieceBytes = 1 << 26;

    private static readonly UTF8Encoding Utf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>
    /// Computes a SHA-256 over the tensors in the byte order of their UTF-8 names. For each tensor it covers: u32 LE
    /// length of the name, the name, u8 length of the type's safetensors name, that name, u32 LE rank, u64 LE
    /// dimensions, and the 32-byte SHA-256 of the raw little-endian data.
    /// </summary>
    /// <param name="model">The model. It is read once, several tensors in parallel.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <returns><c>sha256:</c> and 64 lower-case hexadecimal digits.</returns>
    /// <exception cref="InvalidModelException">The data cannot be read, or a name is not valid Unicode.</exception>
    public static string Compute(TensorSource model, CancellationToken cancellationToken = default) =>
        Compute(model, threads: 0, cancellationToken);

    /// <param name="model">The model.</param>
    /// <param name="threads">The largest number of threads that read and hash; 0 uses one for each CPU core.</param>
    /// <param name="cancellationToken">Cancels the computation.</param>
    /// <inheritdoc cref="Compute(TensorSource, CancellationToken)"/>
    internal static string Compute(TensorSource model, int threads, CancellationToken cancellationToken)
    {
        ArgumentNullException.ThrowIfNull(model);
        byte[][] dataHashes = new byte[model.Tensors.Count][];
        var options = new ParallelOptions
        {
            CancellationToken = cancellationToken,
            MaxDegreeOfParallelism = threads > 0 ? threads : Environment.ProcessorCount,
        };
        try
        {
            Parallel.For(0, dataHashes.Length, options, i => dataHashes[i] = HashData(model, model.Tensors[i], cancellationToken));
        }
        catch (AggregateException e)
        {
            // Several threads may have hit the same truncated file; one message is enough.
            ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }

        model.RequireUnchanged();
        return Of(model, dataHashes);
    }

    /// <summary>
    /// Computes the digest of a model from the hashes of its tensors' data, given in the order of its tensors.
    /// </summary>
    internal static string Of(TensorSource model, byte[][] dataHashes) => Of(model.Tensors, dataHashes, model.Location);

    /// <param name="tensors">The model's tensors.</param>
    /// <param name="dataHashes">The SHA-256 of each tensor's data.</param>
    /// <param name="location">The model's name in messages.</param>
    /// <inheritdoc cref="Of(TensorSource, byte[][])"/>
    internal static string Of(IReadOnlyList<TensorInfo> tensors, byte[][] dataHashes, string location)
    {
        var order = new (byte[] Name, int At)[tensors.Count];
        for (int i = 0; i < order.Length; i++)
            order[i] = (NameOf(tensors[i], location), i);
        Array.Sort(order, (a, b) => a.Name.AsSpan().SequenceCompareTo(b.Name));

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (var (name, at) in order)
        {
            AppendHead(hash, name, tensors[at]);
            hash.AppendData(dataHashes[at]);
        }

        return Prefix + Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>Determines whether a text has the form of a digest.</summary>
    internal static bool IsDigest(string text) =>
        text.Length == Unknown.Length && text.StartsWith(Prefix, StringComparison.Ordinal) &&
        text[Prefix.Length..].All(char.IsAsciiHexDigitLower);

    private static byte[] NameOf(TensorInfo tensor, string location) => Sentence.IsUnicode(tensor.Name)
        ? Utf8.GetBytes(tensor.Name)
        : throw new InvalidModelException(
            $"'{location}': tensor {Sentence.Quote(tensor.Name)} has an unpaired surrogate in its name.");

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

    /// <summary>Computes the SHA-256 of one tensor's data.</summary>
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
