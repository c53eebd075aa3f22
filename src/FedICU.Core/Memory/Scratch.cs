namespace FedICU.Memory;

/// <summary>Memory that a worker hands out piece by piece and takes back all at once.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private readonly List<NativeBuffer> _overflow = [];
    private NativeBuffer? _buffer;
    private long _used;
    private long _wanted;

    /// <summary>Returns memory that is valid until <see cref="Reset"/>. It is not cleared.</summary>
    public byte* Take(long bytes)
    {
        bytes = PaddedLength(bytes);
        _wanted += bytes;
        if (_buffer is not null && _used + bytes <= _buffer.ByteLength)
        {
            byte* taken = _buffer.Pointer + _used;
            _used += bytes;
            return taken;
        }

        var more = new NativeBuffer(bytes);
        _overflow.Add(more);
        return more.Pointer;
    }

    /// <summary>
    /// Returns the size that a piece takes. Pieces whose distance is a multiple of the page size would share sets of
    /// the first-level cache, so a cache line is added.
    /// </summary>
    public static long PaddedLength(long bytes)
    {
        // bytes of a memory page and of a cache line
        const int Page = 4096;
        const int Line = 64;

        bytes = NativeBuffer.Align(bytes);
        return bytes >= Page && bytes % Page == 0 ? bytes + Line : bytes;
    }

    /// <summary>
    /// Allocates memory in advance for pieces that will be taken. Does nothing if a piece has been taken since the last
    /// reset.
    /// </summary>
    public void Reserve(long bytes)
    {
        if (bytes == 0 || _wanted > 0 || _buffer?.ByteLength >= bytes)
            return;
        _buffer?.Dispose();
        _buffer = new NativeBuffer(bytes);
    }

    /// <summary>
    /// Takes all pieces back. The buffer grows to the size that was needed, so that the next pieces fit.
    /// </summary>
    public void Reset()
    {
        if (_overflow.Count > 0)
        {
            Free();
            _buffer = new NativeBuffer(_wanted);
        }

        (_used, _wanted) = (0, 0);
    }

    public void Dispose() => Free();

    private void Free()
    {
        _buffer?.Dispose();
        _buffer = null;
        _overflow.ForEach(buffer => buffer.Dispose());
        _overflow.Clear();
    }
}
