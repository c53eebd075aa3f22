using System.Diagnostics;
using System.Globalization;

namespace FedICU.Fuzz;

/// <summary>
/// Calls the library, and checks that each call throws only documented exceptions with readable messages, and that its
/// time and memory are proportional to the input.
/// </summary>
/// <param name="inputBytes">The size of the case.</param>
internal sealed class Caller(long inputBytes)
{
    // seconds that any call may take; chosen: generous, for a busy machine
    private const double FreeSeconds = 2;

    // seconds that a call may take for each byte of input; chosen: finds work that is proportional to a claimed size
    private const double SecondsPerByte = 1e-6;

    // bytes of managed memory that any call may allocate; chosen: what a round needs whatever its size
    private const long FreeBytes = 1 << 20;

    // bytes of managed memory that a call may allocate for each byte of input; chosen
    private const long BytesPerByte = 64;

    /// <summary>
    /// The bytes that a call with a mask that selects or ranks may allocate: it needs a histogram of 65,536 counts for
    /// each tensor and pass, however small the tensor. Chosen above the measured 22 MB for the models here.
    /// </summary>
    public const long FreeBytesOfMasks = 64 << 20;

    // characters of the longest message, as the library's contract defines it
    private const int LongestSentence = 1000;

    // characters of a message that a failure quotes; chosen
    private const int LongestQuote = 300;

    /// <summary>Makes the call and returns the documented refusal, or null.</summary>
    /// <param name="what">The name of the call, for messages.</param>
    /// <param name="call">The call.</param>
    /// <param name="alsoDocumented">Another documented exception than <see cref="FedIcuException"/>.</param>
    /// <param name="freeBytes">The bytes that the call may allocate whatever the input's size.</param>
    /// <exception cref="FuzzFailure">The call breaks one of the rules.</exception>
    public Exception? Try(string what, Action call, Type? alsoDocumented = null, long freeBytes = FreeBytes)
    {
        long allocated = GC.GetTotalAllocatedBytes(), started = Stopwatch.GetTimestamp();
        Exception? refusal = null;
        try
        {
            call();
        }
        catch (FuzzFailure)
        {
            throw;
        }
        catch (FedIcuException e)
        {
            refusal = e;
        }
#pragma warning disable CA1031 // any other exception is a fault
        catch (Exception e)
#pragma warning restore CA1031
        {
            if (alsoDocumented?.IsInstanceOfType(e) != true)
                throw new FuzzFailure($"{what}: undocumented {e}", $"{e.GetType().Name} {Place(e)}");
            refusal = e;
        }

        double seconds = Stopwatch.GetElapsedTime(started).TotalSeconds;
        allocated = GC.GetTotalAllocatedBytes() - allocated;
        if (refusal is FedIcuException)
            CheckSentence(refusal.Message, what, Place(refusal));
        if (seconds > FreeSeconds + SecondsPerByte * inputBytes)
        {
            string message = string.Create(CultureInfo.InvariantCulture, $"{what} took {seconds:F1} s for {inputBytes} bytes");
            throw Measured(message, $"time {what}");
        }

        if (allocated > freeBytes + BytesPerByte * inputBytes)
            throw Measured($"{what} allocated {allocated} bytes for {inputBytes}", $"memory {what}");
        return refusal;
    }

    /// <summary>Makes a call that returns something.</summary>
    public T? Get<T>(string what, Func<T?> call, out Exception? refusal, Type? alsoDocumented = null) where T : class
    {
        T? result = null;
        refusal = Try(what, () => result = call(), alsoDocumented);
        return result;
    }

    /// <summary>
    /// Checks that a sentence can be shown: it is not too long, has one line, nothing that changes how a terminal shows
    /// it, and a full stop.
    /// </summary>
    public static void CheckSentence(string sentence, string what, string place)
    {
        if (sentence.Length > LongestSentence)
            throw new FuzzFailure($"{what}: a sentence of {sentence.Length} characters: {Quote(sentence)}", $"long sentence {place}");
        if (FindUnsafe(sentence) is { } found)
            throw new FuzzFailure($"{what}: a sentence with U+{(int)found:X4}: {Quote(sentence)}", $"unsafe character {place}");
        if (!sentence.EndsWith('.'))
            throw new FuzzFailure($"{what}: a sentence without a full stop: {Quote(sentence)}", $"no full stop {place}");
    }

    /// <summary>Finds the first character that must not be shown unescaped; null if there is none.</summary>
    public static char? FindUnsafe(string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (char.IsSurrogate(c))
            {
                if (i + 1 >= text.Length || !char.IsSurrogatePair(c, text[i + 1]))
                    return c;
                i++;
            }
            else if (char.IsControl(c) || c is '\u061c' or '\u200e' or '\u200f' or '\u2028' or '\u2029' or (>= '\u202a' and <= '\u202e') or
                (>= '\u2066' and <= '\u2069'))
            {
                return c;
            }
        }

        return null;
    }

    /// <summary>Gets the method of the library in which an exception was thrown.</summary>
    private static string Place(Exception e) => new StackTrace(e).GetFrames().Select(frame => frame.GetMethod())
        .Where(method => method?.DeclaringType?.Namespace is { } space && space.StartsWith("FedICU", StringComparison.Ordinal) &&
            !space.StartsWith("FedICU.Fuzz", StringComparison.Ordinal))
        .Select(method => $"{method!.DeclaringType!.Name}.{method.Name}").FirstOrDefault() ?? "";

    private static FuzzFailure Measured(string message, string signature) => new(message, signature) { IsMeasured = true };

    private static string Quote(string sentence)
    {
        IEnumerable<string> shown = sentence.Take(LongestQuote).Select(c => c is >= ' ' and <= '~' ? c.ToString() : $"\\u{(int)c:x4}");
        return string.Concat(shown) + (sentence.Length > LongestQuote ? "..." : "");
    }
}
