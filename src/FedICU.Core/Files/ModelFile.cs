using FedICU.Errors;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>
/// Opens and reads files. Every failure becomes an <see cref="InvalidModelException"/> that names the file.
/// </summary>
internal static class ModelFile
{
    /// <summary>Opens a file for reads by position.</summary>
    public static SafeFileHandle OpenRead(string path)
    {
        RequireFile(path);
        try
        {
            // Writers replace a model by renaming a new file over it; an open reader must not block them.
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (Exception e) when (IsFileError(e))
        {
            throw CannotRead(path, e);
        }
    }

    /// <summary>Gets the file's length in bytes.</summary>
    public static long LengthOf(SafeFileHandle handle, string path)
    {
        try
        {
            return RandomAccess.GetLength(handle);
        }
        catch (Exception e) when (IsFileError(e))
        {
            throw CannotRead(path, e);
        }
    }

    /// <summary>Gets the time of the file's last write, in UTC.</summary>
    public static DateTime WrittenAt(SafeFileHandle handle, string path)
    {
        try
        {
            return File.GetLastWriteTimeUtc(handle);
        }
        catch (Exception e) when (IsFileError(e))
        {
            throw CannotRead(path, e);
        }
    }

    /// <summary>
    /// Fills the destination and returns the number of bytes read, which is smaller at the end of the file.
    /// </summary>
    public static int ReadAt(SafeFileHandle handle, Span<byte> destination, long offset, string path)
    {
        int filled = 0;
        try
        {
            while (filled < destination.Length)
            {
                int read = RandomAccess.Read(handle, destination[filled..], offset + filled);
                if (read == 0)
                    break;
                filled += read;
            }
        }
        catch (Exception e) when (IsFileError(e))
        {
            throw CannotRead(path, e);
        }

        return filled;
    }

    /// <summary>Reads a small file as a whole.</summary>
    public static byte[] ReadAll(string path, int limit)
    {
        using SafeFileHandle handle = OpenRead(path);
        FileStamp stamp = FileStamp.Of(handle, path);
        if (stamp.Length > limit)
            throw new InvalidModelException($"'{path}' has {stamp.Length} bytes, above the limit of {limit}.");
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)stamp.Length);
        int read = ReadAt(handle, bytes, 0, path);
        FileStamp now = FileStamp.Of(handle, path);
        if (stamp.DescribeChange(now, path) is { } change &&
            !(stamp.HasSameContentStamp(now) && HasBytes(handle, bytes.AsSpan(0, read), path)))
            throw new ChangedModelException(change);
        return read == bytes.Length ? bytes : bytes[..read];
    }

    // the publication of a folder links the old configuration and removes the link again: only a second reading tells
    // this from a change
    private static bool HasBytes(SafeFileHandle handle, ReadOnlySpan<byte> expected, string path)
    {
        byte[] bytes = GC.AllocateUninitializedArray<byte>(expected.Length);
        return ReadAt(handle, bytes, 0, path) == bytes.Length && expected.SequenceEqual(bytes);
    }

    /// <summary>Determines whether an exception reports a file system failure. Any other exception is a bug.</summary>
    public static bool IsFileError(Exception e) =>
        e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException and not ArgumentOutOfRangeException ||
        FileFailure.IsTooLarge(e);

    /// <summary>Creates the exception for a file that could not be opened or read.</summary>
    public static InvalidModelException CannotRead(string path, Exception e) => e switch
    {
        FileNotFoundException or DirectoryNotFoundException => new($"'{path}' does not exist.", e),
        UnauthorizedAccessException => new($"'{path}' cannot be read: permission denied.", e),
        _ => new($"'{path}' cannot be read: {FileFailure.Describe(e)}.", e),
    };

    private static void RequireFile(string path)
    {
        ArgumentNullException.ThrowIfNull(path);
        if (path.Length == 0 || path.Contains('\0'))
            throw new InvalidModelException($"{Sentence.Quote(path)} is not a path.");
        if (Directory.Exists(path))
            throw new InvalidModelException($"'{path}' is a folder, expected a file.");

        // Opening a pipe that nobody writes to would block for ever. Pipes and devices report length 0, so files of
        // length 0 are never opened.
        var file = new FileInfo(path);
        try
        {
            if (file.Exists && file.Length == 0)
                throw new InvalidModelException($"'{path}' is empty.");
        }
        catch (Exception e) when (IsFileError(e))
        {
            throw CannotRead(path, e);
        }
    }
}
