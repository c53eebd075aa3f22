using System.Security.Cryptography;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Safetensors;

/// <summary>
/// A new file that takes its place whole or not at all: written under a temporary name in the same folder, flushed to the disk, then renamed over
/// the old one. A crash leaves the old file or the new, and perhaps the temporary. A link stays, and what it leads to is replaced; a device, a pipe or a
/// socket is refused.
/// </summary>
internal sealed class StagedFile
{
    private const int WorthWriting = 1 << 18;

    // what of a reservation that fails: the one error without a code of the system
    private const int NotReserved = unchecked((int)0x80131620);

    private readonly string _target, _temporary;
    private readonly SafeFileHandle _handle;
    private bool _published;

    /// <param name="path">Where the file will be.</param>
    /// <param name="length">Its bytes; reserved at once, so that a full disk is found before the work.</param>
    /// <exception cref="FedIcuException">The file cannot be created there.</exception>
    public StagedFile(string path, long length)
    {
        Path = path;
        if (System.IO.Path.EndsInDirectorySeparator(path) || Directory.Exists(path))
            throw new FedIcuException($"'{path}' is a folder, expected a file.");
        if (FilePlace.IsSpecial(path))
            throw new FedIcuException($"'{path}' is not a regular file.");
        if (FilePlace.Obstacle(path) is { } obstacle)
            throw new FedIcuException($"'{path}' cannot be written: {obstacle}.");

        _target = FilePlace.Real(path);
        string name = System.IO.Path.GetFileName(_target);
        // file names have at most 255 bytes, and the old name may have used them all
        string stem = name.Length > 40 ? name[..40] : name;
        _temporary = System.IO.Path.Combine(System.IO.Path.GetDirectoryName(_target) ?? "", $".{stem}.{RandomNumberGenerator.GetHexString(16, lowercase: true)}.tmp");
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

        KeepMode();
    }

    /// <summary>Where the file will be.</summary>
    public string Path { get; }

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

    /// <summary>Puts the file in its place.</summary>
    /// <remarks>
    /// The rename is atomic, and its data are on the disk before it. The folder's own entry is not flushed: .NET opens no folders. So after a loss of
    /// power the place may hold the old file though the rename was done; it never holds half of one.
    /// </remarks>
    public void Publish()
    {
        try
        {
            File.Move(_temporary, _target, overwrite: true);
            _published = true;
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>Removes the temporary, unless it was published. Never throws: it runs while another error is on its way.</summary>
    public void Discard()
    {
        _handle.Dispose();
        if (_published)
            return;
        try
        {
            File.Delete(_temporary);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // the temporary stays; nothing reads it
        }
    }

    private FedIcuException CannotWrite(Exception e) => new($"'{Path}' cannot be written: {FileFailure.Describe(e)}.", e);

    // a model that only some may read stays so when it is replaced
    private void KeepMode()
    {
        if (OperatingSystem.IsWindows())
            return;
        try
        {
            if (File.Exists(_target))
                File.SetUnixFileMode(_handle, File.GetUnixFileMode(_target));
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // another's file in a shared folder: the new one is ours, with our usual mode
        }
    }
}
