using System.Buffers;
using System.IO.Hashing;
using FedICU.Safetensors;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn.Npz;

/// <summary>Reads npz archives of numpy, piece by piece: what is in memory does not grow with the model.</summary>
internal static class NpzReader
{
    private const int Piece = 1 << 20;

    /// <summary>Copies an archive's arrays to a sink, in the archive's order; the tensor of the entry <c>0.npy</c> is named <c>0</c>.</summary>
    /// <param name="path">The archive.</param>
    /// <param name="model">Whose model it is, the beginning of a sentence: <c>Client 'a'</c>.</param>
    /// <param name="sink">Where the tensors go; committed at the end, or left as it was.</param>
    /// <param name="limits">What is accepted.</param>
    /// <param name="cancellationToken">Ends the copying.</param>
    /// <exception cref="InvalidModelException">It is no archive of arrays of numbers, or goes beyond a limit.</exception>
    public static void Copy(string path, string model, TensorSink sink, NpzLimits limits, CancellationToken cancellationToken = default)
    {
        try
        {
            using SafeFileHandle file = File.OpenHandle(path);
            List<ZipEntry> entries = ZipDirectory.Read(file, limits);
            TensorInfo[] tensors = [.. entries.Select(entry => ReadHeader(file, entry))];
            if (tensors.Length == 0)
                throw new InvalidModelException("the archive has no entries.");
            sink.Begin(tensors, new Dictionary<string, string>());
            try
            {
                for (int i = 0; i < tensors.Length; i++)
                    CopyEntry(file, entries[i], tensors[i], sink, cancellationToken);
                sink.Commit();
            }
            catch
            {
                sink.Abort();
                throw;
            }
        }
        catch (InvalidModelException e)
        {
            throw new InvalidModelException($"{model}: {e.Message}", e);
        }
        catch (InvalidDataException e)
        {
            throw new InvalidModelException($"{model}: the archive's packed bytes are damaged.", e);
        }
    }

    private static TensorInfo ReadHeader(SafeFileHandle file, ZipEntry entry)
    {
        if (!entry.Name.EndsWith(".npy", StringComparison.Ordinal) || entry.Name.Length == ".npy".Length)
            throw new InvalidModelException($"the archive's entry {Sentence.Quote(entry.Name)} is no array; names that end in .npy were expected.");
        if (entry.Name is "__metadata__.npy")
            throw new InvalidModelException("the name of tensor '__metadata__' is reserved.");
        using Stream stream = ZipDirectory.Open(file, entry);
        TensorInfo tensor = NpyHeader.Read(stream, entry.Name[..^".npy".Length], out int length);
        return entry.Unpacked - length == tensor.ByteLength ? tensor : throw new InvalidModelException(
            $"tensor {Sentence.Quote(tensor.Name)} has {Sentence.Count(entry.Unpacked - length, "byte")}; {tensor} takes {tensor.ByteLength}.");
    }

    private static void CopyEntry(SafeFileHandle file, ZipEntry entry, TensorInfo tensor, TensorSink sink, CancellationToken cancellationToken)
    {
        using Stream stream = ZipDirectory.Open(file, entry);
        byte[] bytes = ArrayPool<byte>.Shared.Rent(Piece);
        try
        {
            var crc = new Crc32();
            long header = entry.Unpacked - tensor.ByteLength;
            for (long done = 0; done < entry.Unpacked;)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Span<byte> part = bytes.AsSpan(0, (int)Math.Min(Piece, (done < header ? header : entry.Unpacked) - done));
                if (stream.ReadAtLeast(part, part.Length, throwOnEndOfStream: false) < part.Length)
                    throw new InvalidModelException($"tensor {Sentence.Quote(tensor.Name)} ends before its {Sentence.Count(tensor.ByteLength, "byte")}.");
                crc.Append(part);
                if (done >= header)
                    sink.Write(tensor, done - header, part);
                done += part.Length;
            }

            if (stream.ReadByte() >= 0)
                throw new InvalidModelException($"tensor {Sentence.Quote(tensor.Name)} goes on after its {Sentence.Count(tensor.ByteLength, "byte")}.");
            if (crc.GetCurrentHashAsUInt32() != entry.Crc)
                throw new InvalidModelException($"tensor {Sentence.Quote(tensor.Name)} does not have the checksum that the archive states.");
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }
}
