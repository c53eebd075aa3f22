using System.Buffers;
using System.Security.Cryptography;
using FedICU.Files;
using FedICU.Files.Publishing;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Rounds.Sessions;

/// <summary>Writes an upload of unknown length to a session's folder.</summary>
internal static class SessionUpload
{
    // bytes that one upload holds in memory: chosen, so that a thousand uploads at once hold 64 MB
    private const int BufferBytes = 1 << 16;

    /// <summary>Creates the file of an upload.</summary>
    /// <exception cref="FedIcuException">The file cannot be created.</exception>
    public static SafeFileHandle Create(string path) =>
        Write(path, () => File.OpenHandle(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read | FileShare.Delete));

    /// <summary>Writes a stream to a new file, flushes it to the disk and closes it.</summary>
    /// <param name="id">The client's id.</param>
    /// <param name="upload">The stream, which is read to its end.</param>
    /// <param name="created">The file, which is closed.</param>
    /// <param name="path">The file's path. It is left incomplete after an exception.</param>
    /// <param name="maxBytes">The most bytes that the stream may have; null for no limit.</param>
    /// <param name="cancellationToken">Ends the writing.</param>
    /// <returns>The file's length in bytes, and its checksum.</returns>
    /// <exception cref="RoundRejectedException">The stream has more bytes.</exception>
    /// <exception cref="FedIcuException">The file cannot be written.</exception>
    public static async Task<(long Length, string Digest)> WriteAsync(
        string id, Stream upload, SafeFileHandle created, string path, long? maxBytes, CancellationToken cancellationToken)
    {
        using SafeFileHandle file = created;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] buffer = ArrayPool<byte>.Shared.Rent(BufferBytes);
        try
        {
            long length = 0;
            int read;
            while ((read = await upload.ReadAsync(buffer, cancellationToken).ConfigureAwait(false)) > 0)
            {
                if (maxBytes is { } most && read > most - length)
                    throw CreateRefusal(id, most);
                hash.AppendData(buffer, 0, read);
                Write(path, () => RandomAccess.Write(file, buffer.AsSpan(0, read), length));
                length += read;
            }

            Write(path, () => RandomAccess.FlushToDisk(file));
            FolderCalls.Flush(Path.GetDirectoryName(path)!);
            return (length, SessionSpool.FormatDigest(hash));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }

    /// <summary>Creates the exception for an upload that is too large.</summary>
    public static RoundRejectedException CreateRefusal(string id, long maxBytes) => new(
        RoundFault.TooLarge,
        $"Client {Sentence.Quote(id)}: the upload has more than {Sentence.Count(maxBytes, "byte")}, the most that is accepted.", id);

    private static void Write(string path, Action write) => Write(path, () =>
    {
        write();
        return true;
    });

    private static T Write<T>(string path, Func<T> write)
    {
        try
        {
            return write();
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"'{path}' cannot be written: {FileFailure.Describe(e)}.", e);
        }
    }
}
