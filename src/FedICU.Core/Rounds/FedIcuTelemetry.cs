using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace FedICU;

/// <summary>
/// The telemetry of rounds, for OpenTelemetry and other listeners. Each round is a span <c>fedicu.round</c>. The
/// metrics are the histogram <c>fedicu.round.duration</c> (seconds) and the counters <c>fedicu.round.clients</c>,
/// <c>fedicu.round.received</c> (bytes) and, of sessions, <c>fedicu.session.updates</c>. Without a listener nothing is
/// measured.
/// </summary>
public static class FedIcuTelemetry
{
    /// <summary>The name of the meter.</summary>
    public const string MeterName = "FedICU.Core";

    /// <summary>The name of the source of spans.</summary>
    public const string ActivitySourceName = "FedICU.Core";

    private static readonly ActivitySource Source = new(ActivitySourceName);
    private static readonly Meter Meter = new(MeterName);
    private static readonly Histogram<double> Duration = Meter.CreateHistogram<double>(
        "fedicu.round.duration", "s", "How long a round took, whatever its outcome.");
    private static readonly Counter<long> Clients = Meter.CreateCounter<long>(
        "fedicu.round.clients", "{client}", "Clients of rounds that ended in a model, by whether they took part.");
    private static readonly Counter<long> Received = Meter.CreateCounter<long>(
        "fedicu.round.received", "By", "Bytes of the tensors that clients of such rounds sent.");

    private static readonly Counter<long> Updates = Meter.CreateCounter<long>(
        "fedicu.session.updates", "{update}", "Updates that arrived at sessions, by what became of them.");

    /// <summary>Receives an update and records what became of it.</summary>
    internal static async Task<UpdateReceipt> ObserveArrivalAsync(Func<Task<UpdateReceipt>> receive)
    {
        string outcome = "failed";
        RoundFault? fault = null;
        try
        {
            UpdateReceipt receipt = await receive().ConfigureAwait(false);
            outcome = receipt.IsRepeated ? "repeated" : "accepted";
            return receipt;
        }
        catch (RoundRejectedException e)
        {
            (outcome, fault) = ("refused", e.Fault);
            throw;
        }
        catch (OperationCanceledException)
        {
            outcome = "cancelled";
            throw;
        }
        finally
        {
            var tags = new TagList { { "fedicu.outcome", outcome } };
            if (fault is not null)
                tags.Add("fedicu.fault", fault.ToString());
            Updates.Add(1, tags);
        }
    }

    /// <summary>Runs a round and records its outcome.</summary>
    internal static async Task<AggregationResult> ObserveAsync(
        string strategy, int clients, int tensors, Func<Task<AggregationResult>> run)
    {
        using Activity? activity = Source.StartActivity("fedicu.round");
        activity?.SetTag("fedicu.strategy", strategy).SetTag("fedicu.clients", clients).SetTag("fedicu.tensors", tensors);
        long start = Stopwatch.GetTimestamp();
        string outcome = "failed";
        try
        {
            AggregationResult result = await run().ConfigureAwait(false);
            outcome = "aggregated";
            foreach (ClientReport client in result.Report.Clients)
            {
                Clients.Add(1, new("fedicu.strategy", strategy), new("fedicu.included", client.Included));
                Received.Add(client.BytesSent, new KeyValuePair<string, object?>("fedicu.strategy", strategy));
            }

            return result;
        }
        catch (Exception e)
        {
            outcome = e switch { RoundRejectedException => "rejected", OperationCanceledException => "cancelled", _ => outcome };
            activity?.SetStatus(ActivityStatusCode.Error, e.Message);
            throw;
        }
        finally
        {
            activity?.SetTag("fedicu.outcome", outcome);
            Duration.Record(Stopwatch.GetElapsedTime(start).TotalSeconds, new("fedicu.strategy", strategy), new("fedicu.outcome", outcome));
        }
    }
}
