using System.IO.Hashing;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn;

/// <summary>
/// A file of the spool, whose bytes count towards the spool's limit until it is deleted. Thread-safe.
/// </summary>
internal sealed class SpoolFile(Spool spool, string path)
{
    // bytes; chosen
    private const int PieceLength = 1 << 20;

    private readonly Lock _gate = new();
    private RoundRecord.FileRecord? _record;
    private long _bytes;
    private int _readers;
    private bool _isDeleted;

    public string Path => path;

    public string Name => System.IO.Path.GetFileName(path);

    /// <summary>Reserves bytes before they are written.</summary>
    /// <exception cref="SpoolFullException">The spool has no room for them.</exception>
    public void Grow(long bytes)
    {
        spool.Reserve(bytes);
        lock (_gate)
            _bytes += bytes;
    }

    /// <summary>Counts the bytes that the finished file takes, in place of those reserved.</summary>
    public void Settle()
    {
        long length = new FileInfo(path).Length;
        lock (_gate)
        {
            spool.Adjust(length - _bytes);
            _bytes = length;
        }
    }

    /// <summary>
    /// Returns the finished file's length and checksum. The first call reads the file: from then on it must not change.
    /// </summary>
    public RoundRecord.FileRecord Seal()
    {
        if (_record is { } known)
            return known;
        using SafeFileHandle file = File.OpenHandle(path, options: FileOptions.SequentialScan);
        var hash = new XxHash128();
        byte[] piece = new byte[PieceLength];
        long length = 0;
        for (int read; (read = RandomAccess.Read(file, piece, length)) > 0; length += read)
            hash.Append(piece.AsSpan(0, read));
        return _record = new RoundRecord.FileRecord(Name, length, Convert.ToHexStringLower(hash.GetCurrentHash()));
    }

    /// <summary>Keeps the file from being deleted until the returned object is disposed.</summary>
    public IDisposable Hold()
    {
        lock (_gate)
            _readers++;
        return new Reader(this);
    }

    /// <summary>Deletes the file and frees its bytes, as soon as nobody holds it. A second call does nothing.</summary>
    public void Delete()
    {
        lock (_gate)
        {
            if (_isDeleted)
                return;
            _isDeleted = true;
            if (_readers == 0)
                Remove();
        }
    }

    private void Release()
    {
        lock (_gate)
        {
            if (--_readers == 0 && _isDeleted)
                Remove();
        }
    }

    private void Remove()
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // the next start deletes it
        }

        spool.Adjust(-_bytes);
        _bytes = 0;
    }

    private sealed class Reader(SpoolFile file) : IDisposable
    {
        private int _isDisposed;

        public void Dispose()
        {
            if (Interlocked.Exchange(ref _isDisposed, 1) == 0)
                file.Release();
        }
    }
}
