using FedICU.Memory;

namespace FedICU.Compute.Verification;

/// <summary>
/// A panel between two guards, which show whether a verb wrote outside it. It is aligned for an element but not for a
/// vector, and starts out filled with NaNs (all bits set).
/// </summary>
internal sealed unsafe class GuardedPanel : IDisposable
{
    /// <summary>Bytes of a guard. Chosen: the widest vector.</summary>
    private const int Guard = 64;

    /// <summary>The content of a guard. Chosen: differs from zeros and from the panel's NaNs.</summary>
    private const byte GuardByte = 0xA5;

    private readonly NativeBuffer _buffer;
    private readonly int _start, _bytes;

    public GuardedPanel(DType type, int length)
    {
        (Length, _start, _bytes) = (length, Guard + type.BitSize / 8, length * (type.BitSize / 8));
        _buffer = new NativeBuffer(_start + _bytes + Guard);
        All.Fill(GuardByte);
        Panel = new TensorPanel(_buffer.Pointer + _start, type);
        Bytes.Fill(0xFF);
    }

    public int Length { get; }

    public TensorPanel Panel { get; }

    public Span<byte> Bytes => All.Slice(_start, _bytes);

    /// <summary>Gets whether both guards are unchanged.</summary>
    public bool IsIntact => !All[.._start].ContainsAnyExcept(GuardByte) && !All[(_start + _bytes)..].ContainsAnyExcept(GuardByte);

    private Span<byte> All => new(_buffer.Pointer, _start + _bytes + Guard);

    public double this[int i]
    {
        get => Rounding.Read(Panel.Data, Panel.DType, i);
        set => Rounding.Write(Panel.Data, Panel.DType, i, value);
    }

    public void Dispose() => _buffer.Dispose();
}
