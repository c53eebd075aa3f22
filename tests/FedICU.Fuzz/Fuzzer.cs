using System.Diagnostics;
using System.Globalization;

namespace FedICU.Fuzz;

/// <summary>A case that failed, with the sentence or exception.</summary>
internal sealed record FuzzFault(FuzzInput Input, string Message, string Signature);

/// <summary>What a run of a target did. Of failures with one signature the first is kept, and the number of all.</summary>
internal sealed record FuzzResult(string Target, long Cases, long Accepted, IReadOnlyList<(FuzzFault First, long Count)> Faults);

/// <summary>Runs a target's cases in order, from the first.</summary>
/// <param name="target">What is tried.</param>
/// <param name="seed">Which cases.</param>
internal sealed class Fuzzer(FuzzTarget target, ulong seed)
{
    // where a case does not return, the process cannot go on
    private static readonly TimeSpan Hang = TimeSpan.FromMinutes(2);

    // a case that is over a budget of time or memory is tried again: the machine may have been busy, or code was compiled
    private const int Tries = 3;

    // the process may grow by so much beyond its size at the start, native memory included
    private const long MostGrowth = 512L << 20;
    private const int CasesBetweenLooks = 256;

    /// <summary>Called with a case that does not return.</summary>
    public Action<FuzzInput>? OnHang { get; init; }

    /// <summary>Called before each case, with its number.</summary>
    public Action<long>? OnCase { get; init; }

    /// <summary>Runs cases until the time is over, or so many.</summary>
    public FuzzResult Run(TimeSpan time, long most = long.MaxValue)
    {
        var faults = new Dictionary<string, (FuzzFault First, long Count)>(StringComparer.Ordinal);
        long number = 0, accepted = 0, start = PeakMemory();
        FuzzInput? current = null;
        var clock = Stopwatch.StartNew();
        using var watchdog = new Timer(_ => OnHang?.Invoke(current!));
        for (; number < most && clock.Elapsed < time; number++)
        {
            OnCase?.Invoke(number);
            current = target.Make(seed, number);
            watchdog.Change(Hang, Timeout.InfiniteTimeSpan);
            FuzzFault? fault = Try(current, out Outcome outcome);
            if (number % CasesBetweenLooks == 0 && PeakMemory() is var peak && peak - start > MostGrowth)
            {
                fault ??= new FuzzFault(current, $"the process grew by {peak - start} bytes in the last {CasesBetweenLooks} cases",
                    "memory of the process");
                start = peak;
            }

            if (fault is null)
                accepted += outcome == Outcome.Accepted ? 1 : 0;
            else
                faults[fault.Signature] = faults.TryGetValue(fault.Signature, out (FuzzFault First, long Count) known)
                    ? (known.First, known.Count + 1) : (fault, 1);
        }

        return new FuzzResult(target.Name, number, accepted, [.. faults.Values]);
    }

    /// <summary>Runs one case; null where all holds.</summary>
    public FuzzFault? Try(FuzzInput input, out Outcome outcome)
    {
        for (int attempt = 1; ; attempt++)
        {
            outcome = Outcome.Refused;
            try
            {
                using var place = new FuzzPlace(string.Create(CultureInfo.InvariantCulture, $"{target.Name}-{input.Case}"));
                outcome = target.Check(input, place, new Caller(input.ByteLength));
                if (place.OpenFiles().FirstOrDefault() is { } open)
                    throw new FuzzFailure($"'{open}' is still open", "file left open");
                return null;
            }
            catch (FuzzFailure e) when (e.IsMeasured && attempt < Tries)
            {
            }
            catch (FuzzFailure e)
            {
                return new FuzzFault(input, e.Message, e.Signature);
            }
#pragma warning disable CA1031 // a check that fails by itself is a fault too, of the library or of the check
            catch (Exception e)
#pragma warning restore CA1031
            {
                return new FuzzFault(input, $"the check ended in {e}", $"check {e.GetType().Name} {e.StackTrace?.Split('\n')[0].Trim()}");
            }
        }
    }

    private static long PeakMemory()
    {
        using var process = Process.GetCurrentProcess();
        return process.PeakWorkingSet64;
    }
}
