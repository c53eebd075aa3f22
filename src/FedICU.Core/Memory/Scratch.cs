namespace FedICU.Memory;

/// <summary>Memory that a worker hands out piece by piece and takes back all at once.</summary>
internal sealed unsafe class Scratch : IDisposable
{
    private readonly List<NativeBuffer> _overflow = [];
    private NativeBuffer? _buffer;
    private long _used;
    private long _wanted;

    /// <summary>Memory valid until <see cref="Reset"/>; not cleared.</summary>
    public byte* Take(long bytes)
    {
        bytes = Apart(bytes);
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

    /// <summary>The bytes that so many take: panels of different inputs that lie whole pages apart would share sets of the first cache.</summary>
    public static long Apart(long bytes)
    {
        const int Page = 4096, Line = 64;
        bytes = NativeBuffer.Align(bytes);
        return bytes >= Page && bytes % Page == 0 ? bytes + Line : bytes;
    }

    /// <summary>Makes room at once for what will be taken piece by piece; where something was taken before, nothing is done.</summary>
    public void Reserve(long bytes)
    {
        if (bytes == 0 || _wanted > 0 || _buffer?.ByteLength >= bytes)
            return;
        _buffer?.Dispose();
        _buffer = new NativeBuffer(bytes);
    }

    /// <summary>Takes all back; what did not fit once fits from then on.</summary>
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
