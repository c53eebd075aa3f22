using System.Buffers;
using System.IO.Compression;

namespace FedICU.Fedn.Npz;

/// <summary>Writes a model as an npz archive that numpy loads: one .npy entry for each tensor, in the model's order, not compressed.</summary>
internal static class NpzWriter
{
    private const int Piece = 1 << 20;

    // the format's first day: equal models are equal files
    private static readonly DateTimeOffset Epoch = new(1980, 1, 1, 0, 0, 0, TimeSpan.Zero);

    /// <summary>Writes all tensors.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">The archive; replaced.</param>
    /// <param name="cancellationToken">Ends the writing.</param>
    public static void Write(TensorSource model, string path, CancellationToken cancellationToken)
    {
        byte[] bytes = ArrayPool<byte>.Shared.Rent(Piece);
        try
        {
            using FileStream file = File.Create(path);
            using var archive = new ZipArchive(file, ZipArchiveMode.Create);
            foreach (TensorInfo tensor in model.Tensors)
            {
                ZipArchiveEntry entry = archive.CreateEntry(tensor.Name + ".npy", CompressionLevel.NoCompression);
                entry.LastWriteTime = Epoch;
                using Stream data = entry.Open();
                data.Write(NpyHeader.Write(tensor));
                for (long offset = 0; offset < tensor.ByteLength; offset += Piece)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    Span<byte> part = bytes.AsSpan(0, (int)Math.Min(Piece, tensor.ByteLength - offset));
                    model.Read(tensor, offset, part);
                    data.Write(part);
                }
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(bytes);
        }
    }
}
