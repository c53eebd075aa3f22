using System.Security.Cryptography;
using FedICU.Fedn.Protocol;
using FedICU.Text;
using Google.Protobuf;
using Grpc.Core;

namespace FedICU.Fedn;

/// <summary>FEDn's model streams: an npz archive in chunks, with an empty message at the end.</summary>
internal static class ModelStream
{
    // bytes; the size of FEDn's own chunks
    private const int ChunkLength = 1 << 20;

    /// <summary>Writes a model's chunks to a new file until the empty message arrives.</summary>
    /// <param name="requests">The stream, at its first message.</param>
    /// <param name="whose">The model's name at the start of a sentence.</param>
    /// <param name="target">The file, whose bytes are reserved as they arrive.</param>
    /// <param name="maxBytes">The most bytes accepted.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <returns>The number of bytes and their SHA-256.</returns>
    /// <exception cref="InvalidModelException">
    /// The model is too large or its stream incomplete; the message is the end of a sentence that begins with the
    /// model's name.
    /// </exception>
    /// <exception cref="SpoolFullException">The spool has no room for the model.</exception>
    /// <exception cref="RpcException">A message has another id than the first.</exception>
    public static async Task<(long Bytes, string Digest)> ReceiveAsync(
        IAsyncStreamReader<StoreModelRequest> requests, string whose, SpoolFile target, long maxBytes, CancellationToken cancellationToken)
    {
        ByteString id = requests.Current.Id;
        long bytes = 0;
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        await using FileStream file = new(target.Path, FileMode.CreateNew, FileAccess.Write, FileShare.None, bufferSize: 0, useAsync: true);
        do
        {
            ReadOnlyMemory<byte> data = requests.Current.Data.Memory;
            if (!requests.Current.Id.Equals(id))
                throw FednService.Refuse($"{whose}: a message of the stream is from {Sentence.Quote(ClientId.Read(requests.Current.Id))}.");
            if (data.IsEmpty)
                return (bytes, Convert.ToHexStringLower(hash.GetHashAndReset()));
            bytes += data.Length;
            if (bytes > maxBytes)
                throw new InvalidModelException($"the model has more than {maxBytes} bytes.");
            target.Grow(data.Length);
            hash.AppendData(data.Span);
            await file.WriteAsync(data, cancellationToken);
        }
        while (await requests.MoveNext(cancellationToken));
        throw new InvalidModelException($"the stream ended after {Sentence.Count(bytes, "byte")} without its last, empty message.");
    }

    /// <summary>Sends a file in chunks, then the empty message.</summary>
    public static async Task SendAsync(
        string path, IServerStreamWriter<AggregationResponse> responses, FednMetrics metrics, CancellationToken cancellationToken)
    {
        await using var file = new FileStream(
            path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete, bufferSize: 0, useAsync: true);
        byte[] bytes = new byte[ChunkLength];
        int read;
        do
        {
            read = await file.ReadAtLeastAsync(bytes, ChunkLength, throwOnEndOfStream: false, cancellationToken);
            // the message may borrow the buffer: it is serialized before the write returns
            ByteString data = UnsafeByteOperations.UnsafeWrap(bytes.AsMemory(0, read));
            await responses.WriteAsync(new AggregationResponse { Data = data }, cancellationToken);
            metrics.Sent(read);
        }
        while (read > 0);
    }
}
