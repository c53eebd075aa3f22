using System.Buffers;
using FedICU.Errors;
using FedICU.Files;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A model in a safetensors file. Every rule of the format is checked when it is opened; the data are read on demand, so the file may be larger
/// than memory. Reading is thread-safe.
/// </summary>
public sealed class SafetensorsFile : TensorSource
{
    private readonly DataFile _file;
    private readonly SafetensorsHeader _header;
    private readonly long _dataStart;
    private readonly FileMapping? _mapping;

    private SafetensorsFile(string path, DataFile file, FileAccessMode access, RoundFiles? round)
    {
        Location = path;
        _file = file;
        long length = file.Length;

        Span<byte> prefix = stackalloc byte[SafetensorsHeader.PrefixLength];
        prefix = prefix[..file.Read(prefix, 0)];
        int headerLength = SafetensorsHeader.CheckLength(prefix, length, path);
        _dataStart = SafetensorsHeader.PrefixLength + headerLength;

        // a private copy in both modes: what was checked cannot change afterwards
        byte[] header = GC.AllocateUninitializedArray<byte>(headerLength);
        int read = file.Read(header, SafetensorsHeader.PrefixLength);
        if (read < headerLength)
            throw new ChangedModelException(
                $"'{path}' was truncated while it was read: the header takes {headerLength} bytes, {read} {Sentence.Form(read, "is", "are")} there.");
        _header = SafetensorsHeader.Parse(header, length - _dataStart, path);
        Metadata = PackedMetadata.OfTheModel(_header.Metadata);

        if (access == FileAccessMode.Mapped)
            _mapping = file.Map();
        if (round is null)
            return;
        _header = round.Share(_header);
        file.KeepOpenIn(round);
    }

    /// <summary>Opens a file and checks its header.</summary>
    /// <param name="path">The file.</param>
    /// <param name="access">How the data are reached; <see cref="FileAccessMode.Mapped"/> only for files the caller vouches for.</param>
    /// <exception cref="InvalidModelException">The file cannot be opened, or breaks a rule of the format; the message is one sentence.</exception>
    public static new SafetensorsFile Open(string path, FileAccessMode access = FileAccessMode.Read) => Open(path, access, null);

    /// <inheritdoc cref="TensorSource.Open(string, FileAccessMode, RoundFiles?)"/>
    internal static new SafetensorsFile Open(string path, FileAccessMode access, RoundFiles? round)
    {
        var file = new DataFile(path);
        try
        {
            return new SafetensorsFile(path, file, access, round);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>The tensors in the order of their data.</summary>
    public override IReadOnlyList<TensorInfo> Tensors => _header.Tensors;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>
    /// The metadata with what they say of the file itself (<see cref="MetadataKeys.Generation"/>, <see cref="MetadataKeys.Config"/>).
    /// </summary>
    internal IReadOnlyDictionary<string, string> OwnMetadata => _header.Metadata;

    /// <summary>The path as it was given.</summary>
    public override string Location { get; }

    /// <inheritdoc/>
    public override void Read(TensorInfo tensor, long offset, Span<byte> destination)
    {
        var (start, length) = Locate(tensor);
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, length - destination.Length);

        long position = _dataStart + start + offset;
        if (_mapping is not null)
        {
            _mapping.Copy(position, destination);
            return;
        }

        if (_file.Read(destination, position) < destination.Length)
            throw new ChangedModelException($"'{Location}' was truncated while it was read: tensor {Sentence.Quote(tensor.Name)} needs bytes " +
                $"{position} to {position + destination.Length} of the file, which now has {_file.LengthNow()}.");
    }

    /// <summary>Lends the mapped memory; valid until the file is disposed.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="memory">The address of the first byte.</param>
    /// <returns>
    /// False where the file is not mapped, and for a tensor whose data do not lie at a multiple of the element's size (the format allows that,
    /// vector code and devices may not).
    /// </returns>
    public override unsafe bool TryPin(TensorInfo tensor, out MemoryHandle memory)
    {
        long position = _dataStart + Locate(tensor).Start;
        if (_mapping is null || position % Math.Max(tensor.DType.BitSize / 8, 1) != 0)
        {
            memory = default;
            return false;
        }

        memory = new MemoryHandle(_mapping.Pointer + position);
        return true;
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        _mapping?.Dispose();
        _file.Dispose();
        base.Dispose(disposing);
    }

    internal override void RequireUnchanged() => _file.RequireUnchanged();

    internal override void Forget(TensorInfo tensor, long offset, long length) => _file.Forget(_dataStart + _header.Locate(tensor).Start + offset, length);

    internal override bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> unused) => _file.TryReadAhead(_dataStart + _header.Locate(tensor).Start + offset, unused);

    private protected override TensorInfo? Lookup(string name) => _header.Find(name);

    private (long Start, long Length) Locate(TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ObjectDisposedException.ThrowIf(_file.IsDisposed, this);
        return _header.Locate(tensor);
    }
}
