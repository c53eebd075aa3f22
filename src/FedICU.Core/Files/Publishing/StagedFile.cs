using Microsoft.Win32.SafeHandles;

namespace FedICU.Files.Publishing;

/// <summary>
/// A new file that takes its place whole or not at all: written under a temporary name, flushed to the disk, then renamed over the old one.
/// A crash leaves the old file or
/// the new, and perhaps the temporary. A device, a pipe or a socket is refused.
/// </summary>
internal sealed class StagedFile
{
    private const int WorthWriting = 1 << 18;

    // what of a reservation that fails: the one error without a code of the system
    private const int NotReserved = unchecked((int)0x80131620);

    private readonly string _target, _temporary;
    private readonly OutputLock? _lock;
    private readonly SafeFileHandle _handle;

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

    /// <summary>Begins a file whose temporary lies beside it, under a lock of its own.</summary>
    /// <param name="path">Where the file will be.</param>
    /// <param name="length">Its bytes; reserved at once, so that a full disk is found before the work.</param>
    /// <param name="options">Whether a link is followed.</param>
    /// <exception cref="FedIcuException">The file cannot be created there, or another run writes it.</exception>
    public static StagedFile Beside(string path, long length, OutputOptions options)
    {
        CheckPlace(path, options.FollowLinks);
        string target = options.FollowLinks ? FilePlace.Real(path) : FilePlace.Entry(path);
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

    /// <summary>Begins a file that is staged in a folder of its run, whose lock is held.</summary>
    /// <param name="path">What messages call it.</param>
    /// <param name="target">Where it will be.</param>
    /// <param name="stage">The folder on the same file system, where it has its name.</param>
    /// <param name="modeOf">The old file, or one of the same model, whose access rights the new one takes.</param>
    /// <param name="length">Its bytes.</param>
    public static StagedFile Within(string path, string target, string stage, string modeOf, long length) =>
        new(path, target, System.IO.Path.Combine(stage, System.IO.Path.GetFileName(target)), modeOf, null, length);

    /// <summary>Where the file will be, as messages call it.</summary>
    public string Path { get; }

    /// <summary>Whether readers see the file.</summary>
    public bool IsPublished { get; private set; }

    /// <summary>Writes bytes; thread-safe for ranges that do not overlap.</summary>
    public void Write(ReadOnlySpan<byte> bytes, long offset)
    {
        try
        {
            RandomAccess.Write(_handle, bytes, offset);
            // the disk writes while the round reads on: else all of it would be waited for at the end
            if (bytes.Length >= WorthWriting)
                FileAdvice.BeginWriting(_handle, offset, bytes.Length);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>Brings the bytes to the disk. After that only <see cref="Publish"/> or <see cref="Discard"/>.</summary>
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

    /// <summary>Removes the old file ahead of the new one.</summary>
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

    /// <summary>Puts the file in its place. The rename is atomic, and the data are on the disk before it.</summary>
    /// <param name="through">A file that it replaces first, before that file takes its own name; null where there is none.</param>
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

    /// <summary>Removes a file that was published ahead of the one that would have made it part of a model. Never throws.</summary>
    public void Withdraw()
    {
        if (IsPublished)
            FilePlace.Remove(_target);
    }

    /// <summary>Removes the temporary, unless it was published. Never throws: it runs while another error is on its way.</summary>
    public void Discard()
    {
        _handle.Dispose();
        if (!IsPublished)
            FilePlace.Remove(_temporary);
        _lock?.Dispose();
    }

    /// <summary>Refuses a place that a new file cannot take.</summary>
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

    // a model that only some may read stays so when it is replaced
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
            // another's file in a shared folder: the new one is ours, with our usual mode
        }
    }
}
