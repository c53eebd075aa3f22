using System.Buffers;
using System.IO.Compression;
using System.Text;

namespace FedICU.Fedn.Npz;

/// <summary>
/// Writes a model as an npz archive that numpy loads: one uncompressed .npy entry for each tensor, in the model's
/// order.
/// </summary>
internal static class NpzWriter
{
    // bytes; chosen
    private const int PieceLength = 1 << 20;

    // a fixed date, so that equal models make equal files: the earliest that zip can hold
    private static readonly DateTimeOffset Epoch = new(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);

    // bytes of an entry's records in the archive besides its name, and of the archive's end: chosen above what zip64
    // takes
    private const int EntryBytes = 256, EndBytes = 256;

    /// <summary>Computes the most bytes that the archive of a model takes.</summary>
    public static long Bound(TensorSource model) => EndBytes + model.Tensors.Sum(tensor =>
        NpyHeader.Write(tensor).Length + tensor.ByteLength + EntryBytes + 2L * Encoding.UTF8.GetMaxByteCount(tensor.Name.Length));

    /// <summary>Writes all tensors, and flushes them to the disk.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The archive. An existing file is replaced.</param>
    /// <param name="cancellationToken">Ends the writing.</param>
    public static void Write(TensorSource model, string path, CancellationToken cancellationToken)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(PieceLength);
        try
        {
            using FileStream file = File.Create(path);
            using (var archive = new ZipArchive(file, ZipArchiveMode.Create, leaveOpen: true))
            {
                foreach (TensorInfo tensor in model.Tensors)
                    Write(model, tensor, archive, bytes, cancellationToken);
            }

            // the updates are deleted when this file counts
            file.Flush(flushToDisk: true);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }

    private static void Write(
        TensorSource model, TensorInfo tensor, ZipArchive archive, byte[] bytes, CancellationToken cancellationToken)
    {
        ZipArchiveEntry entry = archive.CreateEntry(tensor.Name + ".npy", CompressionLevel.NoCompression);
        entry.LastWriteTime = Epoch;
        using Stream data = entry.Open();
        data.Write(NpyHeader.Write(tensor));
        for (long offset = 0; offset < tensor.ByteLength; offset += PieceLength)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Span<byte> part = bytes.AsSpan(0, (int)Math.Min(PieceLength, tensor.ByteLength - offset));
            model.Read(tensor, offset, part);
            data.Write(part);
        }
    }
}
