using FedICU.Errors;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>Opening and reading files where every failure is a sentence that names the file.</summary>
internal static class ModelFile
{
    /// <summary>Opens a file for positional reads.</summary>
    public static SafeFileHandle OpenRead(string path)
    {
        RequireFile(path);
        try
        {
            // writers replace a model by renaming a new file over it: readers must not stand in their way
            return File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        }
        catch (Exception e) when (IsFileError(e))
        {
            throw CannotRead(path, e);
        }
    }

    /// <summary>The length in bytes.</summary>
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

    /// <summary>When it was written last, in universal time.</summary>
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

    /// <summary>Fills the destination; returns how many bytes there were.</summary>
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

    /// <summary>The whole of a small file.</summary>
    public static byte[] ReadAll(string path, int limit)
    {
        using SafeFileHandle handle = OpenRead(path);
        FileStamp stamp = FileStamp.Of(handle, path);
        if (stamp.Length > limit)
            throw new InvalidModelException($"'{path}' has {stamp.Length} bytes, above the limit of {limit}.");
        byte[] bytes = GC.AllocateUninitializedArray<byte>((int)stamp.Length);
        int read = ReadAt(handle, bytes, 0, path);
        if (stamp.DescribeChange(FileStamp.Of(handle, path), path) is { } change)
            throw new ChangedModelException(change);
        return read == bytes.Length ? bytes : bytes[..read];
    }

    /// <summary>The failures of the file system; anything else is an error of the program.</summary>
    public static bool IsFileError(Exception e) =>
        e is IOException or UnauthorizedAccessException or NotSupportedException or ArgumentException and not ArgumentOutOfRangeException ||
        FileFailure.IsTooLarge(e);

    /// <summary>The sentence for a failed open or read.</summary>
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

        // pipes and devices have length 0, and opening a pipe nobody writes to never returns; so nothing of length 0 is opened
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
