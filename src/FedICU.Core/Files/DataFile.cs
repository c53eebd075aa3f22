using FedICU.Errors;
using FedICU.Memory;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>
/// A file that is read by position. The file stays open if the round may keep another file open. Otherwise each read
/// opens it again, reads one whole block, and checks that it is still the same file. Thread-safe.
/// </summary>
internal sealed class DataFile : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private readonly Lock _gate = new();
    private readonly FileStamp _stamp;
    // null: the file stays open and does not count towards a round's open files
    private RoundFiles? _round;
    private bool _isReopened;
    private NativeBuffer? _block;
    private long _blockStart;
    private int _blockBytes, _disposed;

    public DataFile(string path)
    {
        (_path, _handle) = (path, ModelFile.OpenRead(path));
        try
        {
            _stamp = FileStamp.Of(_handle, path);
        }
        catch
        {
            _handle.Dispose();
            throw;
        }
    }

    /// <summary>Gets the file's length in bytes when it was opened.</summary>
    public long Length => _stamp.Length;

    public bool IsDisposed => _disposed != 0;

    /// <summary>Maps the whole file into memory. The handle is closed, because a mapping does not need it.</summary>
    public FileMapping Map()
    {
        var mapping = new FileMapping(_handle, Length, _path);
        _handle.Dispose();
        return mapping;
    }

    /// <summary>
    /// Decides, after the header has been checked, whether the file stays open for the rest of the round.
    /// </summary>
    public void KeepOpenIn(RoundFiles files)
    {
        if (_handle.IsClosed)
            return;
        (_round, _isReopened) = (files, !files.TryKeepOpen());
        if (_isReopened)
            _handle.Dispose();
    }

    /// <summary>
    /// Fills the destination and returns the number of bytes read, which is smaller at the end of the file.
    /// </summary>
    public int Read(Span<byte> destination, long offset)
    {
        if (!_isReopened)
            return ModelFile.ReadAt(_handle, destination, offset, _path);
        int filled = 0;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            _block ??= new NativeBuffer(_round!.BlockBytes);
            if (destination.Length >= _block.ByteLength)
            {
                using SafeFileHandle again = Reopen();
                return ModelFile.ReadAt(again, destination, offset, _path);
            }

            while (filled < destination.Length && CopyFromBlock(destination[filled..], offset + filled) is var copied and > 0)
                filled += copied;
        }

        return filled;
    }

    /// <summary>Gets the file's current length in bytes.</summary>
    public long ReadCurrentLength()
    {
        if (!_isReopened)
            return ModelFile.LengthOf(_handle, _path);
        using SafeFileHandle again = ModelFile.OpenRead(_path);
        return ModelFile.LengthOf(again, _path);
    }

    /// <summary>
    /// Throws if the file was changed since it was opened: the bytes read so far may be a mixture of two versions.
    /// </summary>
    /// <exception cref="ChangedModelException">The file was changed, replaced or removed.</exception>
    public void RequireUnchanged()
    {
        if (_isReopened)
            Reopen().Dispose();
        else if (!_handle.IsClosed && _stamp.DescribeChange(FileStamp.Of(_handle, _path), _path) is { } change)
            throw new ChangedModelException(change);
    }

    /// <summary>Tells the operating system that these bytes will not be read again.</summary>
    public void Forget(long offset, long length)
    {
        if (!_handle.IsClosed)
            FileAdvice.Forget(_handle, offset, length);
    }

    /// <summary>
    /// Reads bytes ahead of their use so that the operating system caches them. Returns false if the file is opened
    /// again for each read.
    /// </summary>
    public bool TryReadAhead(long offset, Span<byte> buffer) =>
        !_isReopened && !_handle.IsClosed && ModelFile.ReadAt(_handle, buffer, offset, _path) > 0;

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _handle.Dispose();
        if (!_isReopened)
            _round?.ReleaseOpen();
        lock (_gate)
            _block?.Dispose();
    }

    /// <summary>
    /// Copies from the cached block that contains the offset, after reading that block if another one is cached.
    /// Returns 0 at the end of the file.
    /// </summary>
    private unsafe int CopyFromBlock(Span<byte> destination, long offset)
    {
        long start = offset - offset % _block!.ByteLength;
        if (start != _blockStart || _blockBytes == 0)
        {
            _blockBytes = 0;
            using SafeFileHandle again = Reopen();
            var block = new Span<byte>(_block.Pointer, (int)_block.ByteLength);
            (_blockStart, _blockBytes) = (start, ModelFile.ReadAt(again, block, start, _path));
        }

        int skipped = (int)(offset - start), bytes = Math.Clamp(_blockBytes - skipped, 0, destination.Length);
        new ReadOnlySpan<byte>(_block.Pointer + skipped, bytes).CopyTo(destination);
        return bytes;
    }

    private SafeFileHandle Reopen()
    {
        SafeFileHandle again;
        try
        {
            again = ModelFile.OpenRead(_path);
        }
        catch (InvalidModelException e)
        {
            throw new ChangedModelException($"'{_path}' was removed or replaced while it was read: {e.Message}");
        }

        try
        {
            return _stamp.DescribeChange(FileStamp.Of(again, _path), _path) is { } change ? throw new ChangedModelException(change) : again;
        }
        catch
        {
            again.Dispose();
            throw;
        }
    }
}
