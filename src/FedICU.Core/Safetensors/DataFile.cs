using Microsoft.Win32.SafeHandles;

namespace FedICU.Safetensors;

/// <summary>
/// A file read by position. It stays open; or, where a round has more files than it may keep open, it is opened for each read, and its length and time must
/// still be those of the file that was checked. Thread-safe.
/// </summary>
internal sealed class DataFile : IDisposable
{
    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private readonly DateTime _written;
    private RoundFiles? _keeper;
    private bool _reopens;
    private int _disposed;

    public DataFile(string path)
    {
        (_path, _handle) = (path, ModelFile.OpenRead(path));
        try
        {
            (Length, _written) = (ModelFile.LengthOf(_handle, path), ModelFile.WrittenAt(_handle, path));
        }
        catch
        {
            _handle.Dispose();
            throw;
        }
    }

    /// <summary>The bytes it had when it was opened.</summary>
    public long Length { get; }

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
        _reopens = _keeper is null;
    }

    /// <summary>Fills the destination; returns how many bytes there were.</summary>
    public int Read(Span<byte> destination, long offset)
    {
        if (!_reopens)
            return ModelFile.ReadAt(_handle, destination, offset, _path);
        using SafeFileHandle again = Reopen();
        return ModelFile.ReadAt(again, destination, offset, _path);
    }

    /// <summary>The bytes it has now.</summary>
    public long LengthNow()
    {
        if (!_reopens)
            return ModelFile.LengthOf(_handle, _path);
        using SafeFileHandle again = ModelFile.OpenRead(_path);
        return ModelFile.LengthOf(again, _path);
    }

    /// <summary>Lets the system forget bytes that will not be read again.</summary>
    public void Forget(long offset, long length)
    {
        if (!_handle.IsClosed)
            FileAdvice.Forget(_handle, offset, length);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref _disposed, 1) != 0)
            return;
        _handle.Dispose();
        _keeper?.Closed();
    }

    private SafeFileHandle Reopen()
    {
        SafeFileHandle again = ModelFile.OpenRead(_path);
        try
        {
            (long length, DateTime written) = (ModelFile.LengthOf(again, _path), ModelFile.WrittenAt(again, _path));
            return (length, written) == (Length, _written) ? again : throw new InvalidModelException(
                $"'{_path}' was changed or replaced while the round read it: it had {Length} bytes, written at {_written:O}, and now has {length}, written at {written:O}.");
        }
        catch
        {
            again.Dispose();
            throw;
        }
    }
}
