using System.Security.Cryptography;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>
/// Passes a model on to another sink and computes its digest from the bytes as they are written. A tensor's bytes are
/// hashed in order, so a range that comes too early is copied and kept until its turn.
/// </summary>
/// <param name="output">The sink that receives the model.</param>
/// <remarks>
/// <see cref="TensorSink.TryGetPointer"/> and <see cref="TensorSink.Device"/> keep their defaults: bytes that do not
/// pass <see cref="Write"/> would not be hashed.
/// </remarks>
internal sealed class DigestSink(TensorSink output) : TensorSink
{
    private IReadOnlyList<TensorInfo> _tensors = [];
    private Dictionary<string, HashedTensor> _hashes = new(StringComparer.Ordinal);

    internal override (string Path, bool IsFolder)? Place => output.Place;

    internal override bool CanAmend => output.CanAmend;

    /// <summary>Gets the digest of the model.</summary>
    /// <exception cref="InvalidOperationException">Bytes of the model have not been written.</exception>
    public string Digest => ModelDigest.Of(_tensors, [.. _tensors.Select(tensor => _hashes[tensor.Name].Hash)], Place?.Path ?? "memory");

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        output.Begin(tensors, metadata);
        _tensors = tensors;
        _hashes = tensors.ToDictionary(tensor => tensor.Name, tensor => new HashedTensor(tensor), StringComparer.Ordinal);
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        output.Write(tensor, offset, source);
        _hashes[tensor.Name].Append(offset, source);
    }

    internal override void Amend(IReadOnlyDictionary<string, string> metadata) => output.Amend(metadata);

    public override void Commit() => output.Commit();

    public override void Abort()
    {
        foreach (HashedTensor hash in _hashes.Values)
            hash.Dispose();
        output.Abort();
    }

    /// <summary>Hashes the data of one tensor.</summary>
    private sealed class HashedTensor(TensorInfo tensor) : IDisposable
    {
        private readonly Lock _gate = new();
        private readonly SortedList<long, byte[]> _early = [];
        private IncrementalHash? _running;
        private byte[]? _hash = tensor.ByteLength == 0 ? SHA256.HashData([]) : null;
        private long _next;

        public byte[] Hash => _hash ?? throw new InvalidOperationException(
            $"Tensor {Sentence.Quote(tensor.Name)} has no digest yet: the first {_next} of its {tensor.ByteLength} bytes were written.");

        // Hashes under the lock: a thread that comes early waits for the running hash, and often needs no copy then.
        public void Append(long offset, ReadOnlySpan<byte> source)
        {
            if (source.IsEmpty)
                return;
            lock (_gate)
            {
                if (offset < _next || _early.ContainsKey(offset))
                    throw WrittenTwice(offset);
                if (offset > _next)
                {
                    _early.Add(offset, source.ToArray());
                    return;
                }

                HashNext(source);
                while (_early.Count > 0 && _early.GetKeyAtIndex(0) is long start && start <= _next)
                {
                    if (start < _next)
                        throw WrittenTwice(start);
                    HashNext(_early.GetValueAtIndex(0));
                    _early.RemoveAt(0);
                }
            }
        }

        private void HashNext(ReadOnlySpan<byte> source)
        {
            _running ??= IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
            _running.AppendData(source);
            _next += source.Length;
            if (_next != tensor.ByteLength)
                return;
            _hash = _running.GetHashAndReset();
            _running.Dispose();
        }

        public void Dispose() => _running?.Dispose();

        private InvalidOperationException WrittenTwice(long offset) => new(
            $"Tensor {Sentence.Quote(tensor.Name)}: byte {offset} was written twice, so the digest would be wrong.");
    }
}
