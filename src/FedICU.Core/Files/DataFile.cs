using FedICU.Errors;
using FedICU.Memory;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Files;

/// <summary>
/// A file read by position. It stays open; or, where a round has more files than it may keep open, it is opened for each read, which takes
/// a whole block,
/// and must still be the file that was checked. Thread-safe.
/// </summary>
internal sealed class DataFile : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private readonly Lock _gate = new();
    private readonly FileStamp _stamp;
    private RoundFiles? _keeper;
    private RoundFiles? _reopens;
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

    /// <summary>The bytes it had when it was opened.</summary>
    public long Length => _stamp.Length;

    public bool IsDisposed => _disposed != 0;

    /// <summary>Maps the whole file, which then needs no handle.</summary>
    public FileMapping Map()
    {
        var mapping = new FileMapping(_handle, Length, _path);
        _handle.Dispose();
        return mapping;
    }

    /// <summary>The file has been checked: from now on it is open only where the round has room for it.</summary>
    public void KeepOpenIn(RoundFiles files)
    {
        if (_handle.IsClosed)
            return;
        if (files.TryKeepOpen())
            _keeper = files;
        else
            _handle.Dispose();
        _reopens = _keeper is null ? files : null;
    }

    /// <summary>Fills the destination; returns how many bytes there were.</summary>
    public int Read(Span<byte> destination, long offset)
    {
        if (_reopens is null)
            return ModelFile.ReadAt(_handle, destination, offset, _path);
        int filled = 0;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(IsDisposed, this);
            _block ??= new NativeBuffer(_reopens.BlockBytes);
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

    /// <summary>The bytes it has now.</summary>
    public long LengthNow()
    {
        if (_reopens is null)
            return ModelFile.LengthOf(_handle, _path);
        using SafeFileHandle again = ModelFile.OpenRead(_path);
        return ModelFile.LengthOf(again, _path);
    }

    /// <summary>Refuses a file that was changed since it was opened: what was read of it may be a mixture.</summary>
    /// <exception cref="ChangedModelException">It was changed, replaced or removed.</exception>
    public void RequireUnchanged()
    {
        if (_reopens is not null)
            Reopen().Dispose();
        else if (!_handle.IsClosed && _stamp.DescribeChange(FileStamp.Of(_handle, _path), _path) is { } change)
            throw new ChangedModelException(change);
    }

    /// <summary>Lets the system forget bytes that will not be read again.</summary>
    public void Forget(long offset, long length)
    {
        if (!_handle.IsClosed)
            FileAdvice.Forget(_handle, offset, length);
    }

    /// <summary>Reads what will be wanted soon, for the system to keep; false where the file is opened for each read.</summary>
    public bool TryReadAhead(long offset, Span<byte> unused) => _reopens is null && !_handle.IsClosed && ModelFile.ReadAt(_handle, unused, offset, _path) > 0;

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _handle.Dispose();
        _keeper?.Closed();
        lock (_gate)
            _block?.Dispose();
    }

    /// <summary>Copies what the block around an offset has of it, after reading that block where it is not the last one read; 0 where the file has ended.</summary>
    private unsafe int CopyFromBlock(Span<byte> destination, long offset)
    {
        long start = offset - offset % _block!.ByteLength;
        if (start != _blockStart || _blockBytes == 0)
        {
            _blockBytes = 0;
            using SafeFileHandle again = Reopen();
            (_blockStart, _blockBytes) = (start, ModelFile.ReadAt(again, new Span<byte>(_block.Pointer, (int)_block.ByteLength), start, _path));
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
