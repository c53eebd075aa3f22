using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn.Npz;

/// <summary>
/// Reads numpy's npz archives piece by piece, so that the memory it needs does not grow with the model.
/// </summary>
internal static class NpzReader
{
    // bytes; chosen; must stay a multiple of 8, so that no number is split between two pieces
    private const int PieceLength = 1 << 20;

    // bytes of the header of a safetensors file with these tensors; chosen below the format's own limit of 100,000,000
    private const long MaxHeaderBytes = 90_000_000;

    /// <summary>
    /// Copies an archive's arrays to a sink, little-endian and in the archive's order. The entry <c>0.npy</c> becomes
    /// the tensor <c>0</c>.
    /// </summary>
    /// <param name="path">The archive.</param>
    /// <param name="sink">The sink that takes the tensors. It is committed at the end, or aborted on a failure.</param>
    /// <param name="limits">The limits for the archive.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <exception cref="InvalidModelException">
    /// The file is not an archive of arrays of numbers, or it exceeds a limit. The message is the end of a sentence
    /// that begins with the model's name.
    /// </exception>
    public static void Copy(string path, TensorSink sink, NpzLimits limits, CancellationToken cancellationToken = default)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(path);
            List<ZipEntry> entries = ZipDirectory.Read(file, limits);
            NpyArray[] arrays = [.. entries.Select(entry => ReadHeader(file, entry))];
            if (arrays.Length == 0)
                throw new InvalidModelException("the archive has no entries.");
            CheckHeader(arrays);
            sink.Begin([.. arrays.Select(array => array.Tensor)], new Dictionary<string, string>());
            try
            {
                for (int i = 0; i < arrays.Length; i++)
                    CopyEntry(file, entries[i], arrays[i], sink, cancellationToken);
                sink.Commit();
            }
            catch
            {
                sink.Abort();
                throw;
            }
        }
        catch (InvalidDataException e)
        {
            throw new InvalidModelException("the archive's packed bytes are damaged.", e);
        }
    }

    private static NpyArray ReadHeader(SafeFileHandle file, ZipEntry entry)
    {
        if (!entry.Name.EndsWith(".npy", StringComparison.Ordinal) || entry.Name.Length == ".npy".Length)
        {
            throw new InvalidModelException(
                $"the archive's entry {Sentence.Quote(entry.Name)} is not an array; names that end in .npy were expected.");
        }

        // numpy finds an entry by its name with and without the ending
        if (entry.Name.EndsWith(".npy.npy", StringComparison.Ordinal))
            throw new InvalidModelException($"the archive's entry {Sentence.Quote(entry.Name)} ends in .npy twice; once was expected.");
        if (entry.Name is "__metadata__.npy")
            throw new InvalidModelException("the name of tensor '__metadata__' is reserved.");
        using Stream stream = ZipDirectory.Open(file, entry);
        NpyArray array = NpyHeader.Read(stream, entry.Name[..^".npy".Length]);
        TensorInfo tensor = array.Tensor;
        long bytes = entry.Unpacked - array.HeaderLength;
        return bytes == tensor.ByteLength ? array : throw new InvalidModelException(
            $"tensor {Sentence.Quote(tensor.Name)} has {Sentence.Count(bytes, "byte")}; " +
            $"{Sentence.Clean(tensor.ToString())} takes {tensor.ByteLength}.");
    }

    /// <summary>Refuses names and shapes that the header of a safetensors file cannot hold.</summary>
    private static void CheckHeader(NpyArray[] arrays)
    {
        long bytes = HeaderBound.Of(arrays.Select(array => array.Tensor));
        if (bytes > MaxHeaderBytes)
        {
            throw new InvalidModelException(
                $"the names and shapes of its tensors may take {bytes} bytes in a header; at most {MaxHeaderBytes} were expected.");
        }
    }

    private static void CopyEntry(
        SafeFileHandle file, ZipEntry entry, NpyArray array, TensorSink sink, CancellationToken cancellationToken)
    {
        TensorInfo tensor = array.Tensor;
        using Stream stream = ZipDirectory.Open(file, entry);
        byte[] bytes = ArrayPool<byte>.Shared.Rent(PieceLength);
        try
        {
            var crc = new Crc32();
            for (long done = 0; done < entry.Unpacked;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                bool isData = done >= array.HeaderLength;
                Span<byte> part = bytes.AsSpan(0, (int)Math.Min(PieceLength, (isData ? entry.Unpacked : array.HeaderLength) - done));
                if (stream.ReadAtLeast(part, part.Length, throwOnEndOfStream: false) < part.Length)
                    throw Damaged($"ends before its {Sentence.Count(tensor.ByteLength, "byte")}");
                crc.Append(part);
                if (isData)
                {
                    ReverseBytes(part, array.SwappedWidth);
                    sink.Write(tensor, done - array.HeaderLength, part);
                }

                done += part.Length;
            }

            if (stream.ReadByte() >= 0)
                throw Damaged($"continues after its {Sentence.Count(tensor.ByteLength, "byte")}");
            if (crc.GetCurrentHashAsUInt32() != entry.Crc)
                throw Damaged("does not have the checksum that the archive states");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }

        InvalidModelException Damaged(string how) => new($"tensor {Sentence.Quote(tensor.Name)} {how}.");
    }

    /// <summary>Reverses the bytes of each number of the given width; a width of 0 changes nothing.</summary>
    private static void ReverseBytes(Span<byte> numbers, int width)
    {
        if (width == 2)
            BinaryPrimitives.ReverseEndianness(MemoryMarshal.Cast<byte, ushort>(numbers), MemoryMarshal.Cast<byte, ushort>(numbers));
        else if (width == 4)
            BinaryPrimitives.ReverseEndianness(MemoryMarshal.Cast<byte, uint>(numbers), MemoryMarshal.Cast<byte, uint>(numbers));
        else if (width == 8)
            BinaryPrimitives.ReverseEndianness(MemoryMarshal.Cast<byte, ulong>(numbers), MemoryMarshal.Cast<byte, ulong>(numbers));
    }
}
