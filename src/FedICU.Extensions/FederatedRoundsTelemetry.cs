using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace FedICU.Extensions;

/// <summary>
/// The metrics of <see cref="FederatedRounds"/>, beside those of <see cref="FedIcuTelemetry"/>. The counters are
/// <c>fedicu.rounds.updates</c>, <c>fedicu.rounds.received</c> (bytes) and <c>fedicu.rounds.finished</c>; the number of
/// uploads that are under way is <c>fedicu.rounds.uploads</c>, and the histogram is <c>fedicu.rounds.duration</c>
/// (seconds). Without a listener nothing is measured.
/// </summary>
public static class FederatedRoundsTelemetry
{
    /// <summary>The name of the meter.</summary>
    public const string MeterName = "FedICU.Extensions";

    private static readonly Meter Meter = new(MeterName);
    private static readonly Counter<long> Updates = Meter.CreateCounter<long>(
        "fedicu.rounds.updates", "{update}", "Updates that clients sent, by what became of them.");
    private static readonly Counter<long> Received = Meter.CreateCounter<long>(
        "fedicu.rounds.received", "By", "Bytes of updates as they came, those of refused updates included.");
    private static readonly UpDownCounter<long> Uploads = Meter.CreateUpDownCounter<long>(
        "fedicu.rounds.uploads", "{upload}", "Uploads that are under way.");
    private static readonly Counter<long> Finished = Meter.CreateCounter<long>(
        "fedicu.rounds.finished", "{round}", "Rounds that ended, by whether they ended in a model or begin again.");
    private static readonly Histogram<double> Duration = Meter.CreateHistogram<double>(
        "fedicu.rounds.duration", "s", "The time from the beginning of a round, or of its last attempt, to its end.");

    /// <summary>Receives an update and records what became of it.</summary>
    internal static async Task<UpdateReceipt> ObserveUploadAsync(Stream upload, Func<Stream, Task<UpdateReceipt>> receive)
    {
        var counted = new CountedStream(upload);
        var tags = default(TagList);
        Uploads.Add(1);
        try
        {
            UpdateReceipt receipt = await receive(counted).ConfigureAwait(false);
            tags.Add("fedicu.outcome", receipt.IsRepeated ? "repeated" : "accepted");
            return receipt;
        }
        catch (Exception e)
        {
            tags.Add("fedicu.outcome", e switch
            {
                RoundRejectedException => "refused",
                OperationCanceledException => "cancelled",
                _ => "failed",
            });
            if (e is RoundRejectedException refused)
                tags.Add("fedicu.fault", refused.Fault.ToString());
            throw;
        }
        finally
        {
            Uploads.Add(-1);
            Updates.Add(1, tags);
            Received.Add(counted.Count);
        }
    }

    /// <summary>Records the end of a round.</summary>
    /// <param name="outcome"><c>aggregated</c>, or <c>rejected</c> if the round begins again.</param>
    /// <param name="duration">The time since its beginning; null if that is unknown.</param>
    internal static void RecordEnd(string outcome, TimeSpan? duration)
    {
        var tag = new KeyValuePair<string, object?>("fedicu.outcome", outcome);
        Finished.Add(1, tag);
        if (duration is { } time)
            Duration.Record(time.TotalSeconds, tag);
    }

    /// <summary>Counts the bytes that are read.</summary>
    private sealed class CountedStream(Stream inner) : Stream
    {
        public long Count { get; private set; }

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => Count; set => throw new NotSupportedException(); }

        public override async ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            int read = await inner.ReadAsync(buffer, cancellationToken).ConfigureAwait(false);
            Count += read;
            return read;
        }

        public override Task<int> ReadAsync(byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
            ReadAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

        public override int Read(byte[] buffer, int offset, int count)
        {
            int read = inner.Read(buffer, offset, count);
            Count += read;
            return read;
        }

        public override void Flush() { }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
