using Microsoft.Win32.SafeHandles;

namespace FedICU.Files.Publishing;

/// <summary>
/// A new file that appears as a whole or not at all. It is written under a temporary name, flushed to the disk, then
/// renamed over the old file. A crash leaves the old file or the new one, and possibly the temporary file. Devices,
/// pipes and sockets are rejected.
/// </summary>
internal sealed class StagedFile
{
    // bytes that are passed on to the disk together; chosen
    private const int WorthWriting = 1 << 22;

    // The HResult of a failed reservation: COR_E_IO, which carries no system error code.
    private const int NotReserved = unchecked((int)0x80131620);

    private readonly string _target;
    private readonly OutputLock? _lock;
    private readonly SafeFileHandle _handle;
    private string _temporary;
    private long _unwritten;

    private StagedFile(string path, string target, string temporary, string modeOf, OutputLock? held, long length)
    {
        (Path, _target, _temporary, _lock) = (path, target, temporary, held);
        if (FileAdvice.LargestFile is { } limit && length > limit)
            throw new FedIcuException(
                $"'{path}' cannot be written: it takes {length} bytes, and this process may write files of at most {limit} (ulimit -f).");
        try
        {
            _handle = File.OpenHandle(_temporary, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.None, length);
        }
        catch (IOException e) when (e.HResult == NotReserved)
        {
            throw new FedIcuException($"'{path}' cannot be written: the disk has no room for {length} bytes.", e);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }

        KeepMode(modeOf);
    }

    /// <summary>Begins a file whose temporary file is beside it, and takes its lock.</summary>
    /// <param name="path">The path of the file.</param>
    /// <param name="length">
    /// Its length in bytes. The space is reserved at once, so that a full disk is detected before the work begins.
    /// </param>
    /// <param name="options">Whether links are followed and a lock is taken.</param>
    /// <exception cref="FedIcuException">The file cannot be created there, or another run is writing it.</exception>
    public static StagedFile Beside(string path, long length, OutputOptions options)
    {
        CheckPlace(path, options.FollowLinks);
        string target = FilePlace.Destination(path, options.FollowLinks);
        OutputLock? held = options.IsOwned ? null : OutputLock.Take(target, path);
        try
        {
            return new StagedFile(path, target, held?.NewTemporary() ?? OutputLock.NewTemporary(target), target, held, length);
        }
        catch
        {
            held?.Dispose();
            throw;
        }
    }

    /// <summary>Begins a file in a staging folder whose lock is already held.</summary>
    /// <param name="path">The file's name in messages.</param>
    /// <param name="target">The path of the file after publishing.</param>
    /// <param name="stage">The staging folder on the same file system.</param>
    /// <param name="modeOf">The old file, or a file of the same model, whose access rights the new file takes.</param>
    /// <param name="length">Its length in bytes.</param>
    public static StagedFile Within(string path, string target, string stage, string modeOf, long length) =>
        new(path, target, System.IO.Path.Combine(stage, System.IO.Path.GetFileName(target)), modeOf, null, length);

    /// <summary>Gets the path of the file as messages call it.</summary>
    public string Path { get; }

    /// <summary>Gets whether the file has been published.</summary>
    public bool IsPublished { get; private set; }

    /// <summary>Writes bytes. Thread-safe for ranges that do not overlap.</summary>
    public void Write(ReadOnlySpan<byte> bytes, long offset)
    {
        try
        {
            RandomAccess.Write(_handle, bytes, offset);
            // Lets the disk write during the round, so that the final flush does not have to wait for everything.
            if (Interlocked.Add(ref _unwritten, bytes.Length) >= WorthWriting && Interlocked.Exchange(ref _unwritten, 0) > 0)
                FileAdvice.BeginWriting(_handle);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>
    /// Flushes the bytes to the disk. Afterwards only <see cref="Publish"/> and <see cref="Discard"/> may be called.
    /// </summary>
    public void Seal()
    {
        try
        {
            RandomAccess.FlushToDisk(_handle);
            _handle.Dispose();
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>
    /// Renames the sealed file to a hidden name beside its final place. A later run finds it there, also after a power
    /// failure.
    /// </summary>
    /// <param name="ending">The ending of the hidden name.</param>
    public void Keep(string ending)
    {
        string kept = FilePlace.Hidden(_target, ending);
        try
        {
            File.Move(_temporary, kept, overwrite: true);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }

        _temporary = kept;
        FolderCalls.Flush(System.IO.Path.GetDirectoryName(_target)!);
    }

    /// <summary>Removes the old file before the new one is published.</summary>
    public void RemoveOld()
    {
        try
        {
            File.Delete(_target);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>Renames the file into place. The rename is atomic, and the data is on the disk before it.</summary>
    /// <param name="through">
    /// A file to replace first; it is then renamed to the target. Null to rename directly.
    /// </param>
    public void Publish(string? through = null)
    {
        try
        {
            File.Move(_temporary, through ?? _target, overwrite: true);
            IsPublished = true;
            if (through is not null)
                File.Move(through, _target, overwrite: true);
            _lock?.Dispose();
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>
    /// Removes a file that was published before the file that would have made it part of a model. Never throws.
    /// </summary>
    public void Withdraw()
    {
        if (IsPublished)
            FilePlace.Remove(_target);
    }

    /// <summary>Releases the lock and leaves the temporary file. Never throws.</summary>
    public void Release() => _lock?.Dispose();

    /// <summary>
    /// Removes the temporary file if it was not published. Never throws, because it runs while another exception is
    /// handled.
    /// </summary>
    public void Discard()
    {
        _handle.Dispose();
        if (!IsPublished)
            FilePlace.Remove(_temporary);
        _lock?.Dispose();
    }

    /// <summary>Throws if a new file cannot be created at the path.</summary>
    public static void CheckPlace(string path, bool followLinks)
    {
        if (System.IO.Path.EndsInDirectorySeparator(path) || Directory.Exists(path))
            throw new FedIcuException($"'{path}' is a folder, expected a file.");
        if (FilePlace.IsSpecial(path))
            throw new FedIcuException($"'{path}' is not a regular file.");
        if (FilePlace.Obstacle(path, followLinks) is { } obstacle)
            throw new FedIcuException($"'{path}' cannot be written: {obstacle}.");
    }

    private FedIcuException CannotWrite(Exception e) => new($"'{Path}' cannot be written: {FileFailure.Describe(e)}.", e);

    // A replaced model keeps its access rights: a private file stays private.
    private void KeepMode(string old)
    {
        if (OperatingSystem.IsWindows())
            return;
        try
        {
            if (File.Exists(old))
                File.SetUnixFileMode(_handle, File.GetUnixFileMode(old));
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // The old file belongs to another user of a shared folder. The new file gets the default access rights.
        }
    }
}
