using System.Diagnostics;
using System.Globalization;

namespace FedICU.Fuzz;

/// <summary>A failed case, with its message.</summary>
internal sealed record FuzzFault(FuzzInput Input, string Message, string Signature);

/// <summary>The result of a target's run: for each signature the first failure, and the number of failures.</summary>
internal sealed record FuzzResult(string Target, long Cases, long Accepted, IReadOnlyList<(FuzzFault First, long Count)> Faults);

/// <summary>Runs a target's cases in order, from the first.</summary>
/// <param name="target">The target.</param>
/// <param name="seed">The seed of the cases.</param>
internal sealed class Fuzzer(FuzzTarget target, ulong seed)
{
    // the time after which a case counts as hanging, which ends the process; chosen
    private static readonly TimeSpan Hang = TimeSpan.FromMinutes(2);

    // attempts before a case fails for its time or memory; chosen: the machine may have been busy, or code was compiled
    private const int Tries = 3;

    // bytes by which the process may grow between two checks, native memory included; chosen
    private const long MostGrowth = 512L << 20;

    // cases between two checks of the process's memory; chosen
    private const int CasesBetweenMemoryChecks = 256;

    /// <summary>Called with a case that hangs.</summary>
    public Action<FuzzInput>? OnHang { get; init; }

    /// <summary>Called before each case, with its number.</summary>
    public Action<long>? OnCase { get; init; }

    /// <summary>Runs cases until the time is over or the number of cases is reached.</summary>
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
            if (number % CasesBetweenMemoryChecks == 0 && PeakMemory() is var peak && peak - start > MostGrowth)
            {
                string message = $"the process grew by {peak - start} bytes in the last {CasesBetweenMemoryChecks} cases";
                fault ??= new FuzzFault(current, message, "memory of the process");
                start = peak;
            }

            if (fault is null)
            {
                accepted += outcome == Outcome.Accepted ? 1 : 0;
                continue;
            }

            bool isKnown = faults.TryGetValue(fault.Signature, out (FuzzFault First, long Count) known);
            faults[fault.Signature] = isKnown ? (known.First, known.Count + 1) : (fault, 1);
        }

        return new FuzzResult(target.Name, number, accepted, [.. faults.Values]);
    }

    /// <summary>Runs one case and returns its fault, or null.</summary>
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
#pragma warning disable CA1031 // an unexpected exception is a fault of the library or of the check
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
