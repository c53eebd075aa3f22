using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>A safetensors file that is being written under a temporary name.</summary>
internal sealed class StagedModel
{
    private readonly IReadOnlyList<TensorInfo> _tensors;
    private readonly Dictionary<string, int> _index;
    private readonly long _length;
    private readonly long[] _starts;
    private readonly long[] _written;

    /// <param name="path">The file's name in messages.</param>
    /// <param name="tensors">The tensors in the order of their data.</param>
    /// <param name="metadata">The file's metadata.</param>
    /// <param name="stage">Begins a file of the given length in bytes.</param>
    public StagedModel(
        string path, IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata, Func<long, StagedFile> stage)
    {
        byte[] header = HeaderWriter.Write(tensors, metadata, path, out _length);
        _tensors = tensors;
        _index = new Dictionary<string, int>(tensors.Count, StringComparer.Ordinal);
        _starts = new long[tensors.Count];
        _written = new long[tensors.Count];
        long start = header.Length;
        for (int i = 0; i < tensors.Count; i++)
        {
            _index.Add(tensors[i].Name, i);
            _starts[i] = start;
            start += tensors[i].ByteLength;
        }

        File = stage(_length);
        try
        {
            File.Write(header, 0);
        }
        catch
        {
            File.Discard();
            throw;
        }
    }

    public StagedFile File { get; }

    /// <summary>Writes bytes of one tensor's data. Thread-safe for ranges that do not overlap.</summary>
    public void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        int at = _index[tensor.Name];
        ArgumentOutOfRangeException.ThrowIfNegative(offset);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(offset, _tensors[at].ByteLength - source.Length);
        File.Write(source, _starts[at] + offset);
        Interlocked.Add(ref _written[at], source.Length);
    }

    /// <summary>Writes the header again with other metadata of the same length.</summary>
    public void Amend(IReadOnlyDictionary<string, string> metadata)
    {
        byte[] header = HeaderWriter.Write(_tensors, metadata, File.Path, out long length);
        if (length != _length)
            throw new ArgumentException($"'{File.Path}': the new metadata does not have the length of the old.", nameof(metadata));
        File.Write(header, 0);
    }

    /// <summary>Throws if a byte of a tensor has not been written: it would be zero in the model.</summary>
    public void CheckComplete()
    {
        for (int i = 0; i < _tensors.Count; i++)
        {
            if (_written[i] != _tensors[i].ByteLength)
                throw new InvalidOperationException(
                    $"'{File.Path}': tensor {Sentence.Quote(_tensors[i].Name)} was given {_written[i]} bytes, " +
                    $"expected {_tensors[i].ByteLength}.");
        }
    }
}
