using System.Buffers;
using System.Buffers.Binary;
using System.IO.Hashing;
using System.Runtime.InteropServices;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn.Npz;

/// <summary>Reads npz archives of numpy, piece by piece: what is in memory does not grow with the model.</summary>
internal static class NpzReader
{
    // bytes of a piece; a multiple of 8, so that no number is in two pieces
    private const int Piece = 1 << 20;

    // bytes of the header that a safetensors file with these tensors would have; the format's own limit is 100,000,000
    private const long MaxHeaderBytes = 90_000_000;

    /// <summary>
    /// Copies an archive's arrays to a sink, little-endian and in the archive's order; the tensor of the entry <c>0.npy</c> is named
    /// <c>0</c>.
    /// </summary>
    /// <param name="path">The archive.</param>
    /// <param name="sink">Where the tensors go; committed at the end, or left as it was.</param>
    /// <param name="limits">What is accepted.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <exception cref="InvalidModelException">
    /// It is no archive of arrays of numbers, or exceeds a limit; the message is the end of a sentence that begins with the model's name.
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
            throw new InvalidModelException(
                $"the archive's entry {Sentence.Quote(entry.Name)} is no array; names that end in .npy were expected.");
        if (entry.Name is "__metadata__.npy")
            throw new InvalidModelException("the name of tensor '__metadata__' is reserved.");
        using Stream stream = ZipDirectory.Open(file, entry);
        NpyArray array = NpyHeader.Read(stream, entry.Name[..^".npy".Length]);
        TensorInfo tensor = array.Tensor;
        long bytes = entry.Unpacked - array.HeaderLength;
        return bytes == tensor.ByteLength ? array : throw new InvalidModelException(
            $"tensor {Sentence.Quote(tensor.Name)} has {Sentence.Count(bytes, "byte")}; {Sentence.Clean(tensor.ToString())} takes {tensor.ByteLength}.");
    }

    /// <summary>Refuses names and shapes that the header of a safetensors file cannot hold.</summary>
    private static void CheckHeader(NpyArray[] arrays)
    {
        // JSON writes a character as 6 bytes at most, a number as 20 digits and a comma; 128 bytes hold the keys
        long bytes = arrays.Sum(array => 6L * array.Tensor.Name.Length + 21L * array.Tensor.Shape.Rank + 128);
        if (bytes > MaxHeaderBytes)
            throw new InvalidModelException(
                $"the names and shapes of its tensors may take {bytes} bytes in a header; at most {MaxHeaderBytes} were expected.");
    }

    private static void CopyEntry(SafeFileHandle file, ZipEntry entry, NpyArray array, TensorSink sink, CancellationToken cancellationToken)
    {
        TensorInfo tensor = array.Tensor;
        using Stream stream = ZipDirectory.Open(file, entry);
        byte[] bytes = ArrayPool<byte>.Shared.Rent(Piece);
        try
        {
            var crc = new Crc32();
            for (long done = 0; done < entry.Unpacked;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                bool isData = done >= array.HeaderLength;
                Span<byte> part = bytes.AsSpan(0, (int)Math.Min(Piece, (isData ? entry.Unpacked : array.HeaderLength) - done));
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
                throw Damaged($"goes on after its {Sentence.Count(tensor.ByteLength, "byte")}");
            if (crc.GetCurrentHashAsUInt32() != entry.Crc)
                throw Damaged("does not have the checksum that the archive states");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }

        InvalidModelException Damaged(string how) => new($"tensor {Sentence.Quote(tensor.Name)} {how}.");
    }

    /// <summary>Reverses the bytes of each number of a width; a width of 0 leaves them.</summary>
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
