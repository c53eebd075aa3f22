using System.Buffers;
using FedICU.Errors;
using FedICU.Files;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// A model in a safetensors file. Opening it checks every rule of the format. The data is read on demand, so the file
/// may be larger than memory. Reading is thread-safe.
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

        // A private copy in both modes, so that the checked header cannot change afterwards.
        byte[] header = GC.AllocateUninitializedArray<byte>(headerLength);
        int read = file.Read(header, SafetensorsHeader.PrefixLength);
        if (read < headerLength)
            throw new ChangedModelException(
                $"'{path}' was truncated while it was read: the header takes {headerLength} bytes, but only {read} could be read.");
        _header = SafetensorsHeader.Parse(header, length - _dataStart, path);
        Metadata = PackedMetadata.WithoutFileKeys(_header.Metadata);

        if (access == FileAccessMode.Mapped)
            _mapping = file.Map();
        if (round is null)
            return;
        _header = round.Share(_header);
        file.KeepOpenIn(round);
    }

    /// <summary>Opens a file and checks its header.</summary>
    /// <param name="path">The file.</param>
    /// <param name="access">
    /// How the data is read. Use <see cref="FileAccessMode.Mapped"/> only for files that nobody truncates while they
    /// are open.
    /// </param>
    /// <exception cref="InvalidModelException">
    /// The file cannot be opened or violates a rule of the format. The message is one sentence.
    /// </exception>
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

    /// <summary>Gets the tensors in the order of their data.</summary>
    public override IReadOnlyList<TensorInfo> Tensors => _header.Tensors;

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, string> Metadata { get; }

    /// <summary>
    /// Gets the metadata including the keys that describe the file itself (<see cref="MetadataKeys.Generation"/>,
    /// <see cref="MetadataKeys.Config"/>).
    /// </summary>
    internal IReadOnlyDictionary<string, string> OwnMetadata => _header.Metadata;

    /// <summary>Gets the path as it was given.</summary>
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
        {
            throw new ChangedModelException(
                $"'{Location}' was truncated while it was read: tensor {Sentence.Quote(tensor.Name)} needs bytes {position} to " +
                $"{position + destination.Length} of the file, which now has {_file.ReadCurrentLength()}.");
        }
    }

    /// <summary>Lends the mapped memory, which stays valid until the file is disposed.</summary>
    /// <param name="tensor">One of <see cref="Tensors"/>.</param>
    /// <param name="memory">The address of the first byte.</param>
    /// <returns>
    /// False if the file is not mapped, or if the tensor's data do not start at a multiple of the element size. The
    /// format allows that; vector code and devices may not.
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

    internal override void Forget(TensorInfo tensor, long offset, long length) =>
        _file.Forget(_dataStart + _header.Locate(tensor).Start + offset, length);

    internal override bool TryReadAhead(TensorInfo tensor, long offset, Span<byte> buffer) =>
        _file.TryReadAhead(_dataStart + _header.Locate(tensor).Start + offset, buffer);

    private protected override TensorInfo? Lookup(string name) => _header.Find(name);

    private (long Start, long Length) Locate(TensorInfo tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        ObjectDisposedException.ThrowIf(_file.IsDisposed, this);
        return _header.Locate(tensor);
    }
}
