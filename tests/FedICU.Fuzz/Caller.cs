using System.Diagnostics;
using System.Globalization;

namespace FedICU.Fuzz;

/// <summary>
/// Calls the library, and holds each call against what every call owes: documented exceptions, sentences fit to be shown, time and memory
/// in proportion.
/// </summary>
/// <param name="inputBytes">The size of the case.</param>
internal sealed class Caller(long inputBytes)
{
    // generous, for a machine that is busy with other things; chosen so that work in proportion to a claimed size, not to the input, is
    // found
    private const double FreeSeconds = 2, SecondsPerByte = 1e-6;

    // managed memory that one call may allocate: what a round needs whatever its size, and a multiple of the input
    private const long FreeBytes = 1 << 20, BytesPerByte = 64;

    /// <summary>
    /// The same for a mask that selects or ranks: a histogram of 65,536 counts for each tensor and pass, however small the tensor.
    /// Measured: 22 MB for the models here.
    /// </summary>
    public const long FreeBytesOfMasks = 64 << 20;

    // contracts: sentences have at most so many characters
    private const int LongestSentence = 1000;

    /// <summary>Calls and returns the documented refusal, null where there was none.</summary>
    /// <param name="what">What is called, for messages.</param>
    /// <param name="call">The call.</param>
    /// <param name="alsoDocumented">An exception beside <see cref="FedIcuException"/> that the call's documentation names.</param>
    /// <param name="freeBytes">What the call may allocate whatever the input's size.</param>
    /// <exception cref="FuzzFailure">The call does not keep its promises.</exception>
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
#pragma warning disable CA1031 // any other exception is what is looked for
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
            throw Measured(string.Create(CultureInfo.InvariantCulture, $"{what} took {seconds:F1} s for {inputBytes} bytes"),
                $"time {what}");
        if (allocated > freeBytes + BytesPerByte * inputBytes)
            throw Measured($"{what} allocated {allocated} bytes for {inputBytes}", $"memory {what}");
        return refusal;
    }

    /// <summary>The same for a call that returns something.</summary>
    public T? Get<T>(string what, Func<T?> call, out Exception? refusal, Type? alsoDocumented = null) where T : class
    {
        T? result = null;
        refusal = Try(what, () => result = call(), alsoDocumented);
        return result;
    }

    /// <summary>
    /// A sentence that may be shown: not too long, one line, nothing that changes how a terminal shows it, a full stop at its end.
    /// </summary>
    public static void CheckSentence(string sentence, string what, string place)
    {
        if (sentence.Length > LongestSentence)
            throw new FuzzFailure($"{what}: a sentence of {sentence.Length} characters: {Shown(sentence)}", $"long sentence {place}");
        if (FindUnfit(sentence) is { } unfit)
            throw new FuzzFailure($"{what}: a sentence with U+{(int)unfit:X4}: {Shown(sentence)}", $"unfit character {place}");
        if (!sentence.EndsWith('.'))
            throw new FuzzFailure($"{what}: a sentence without an end: {Shown(sentence)}", $"no full stop {place}");
    }

    /// <summary>The first character that must not be shown as it is; null where there is none.</summary>
    public static char? FindUnfit(string text)
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

    /// <summary>Where in the library an exception was thrown.</summary>
    private static string Place(Exception e) => new StackTrace(e).GetFrames().Select(frame => frame.GetMethod())
        .Where(method => method?.DeclaringType?.Namespace is { } space && space.StartsWith("FedICU", StringComparison.Ordinal) &&
            !space.StartsWith("FedICU.Fuzz", StringComparison.Ordinal))
        .Select(method => $"{method!.DeclaringType!.Name}.{method.Name}").FirstOrDefault() ?? "";

    private static FuzzFailure Measured(string message, string signature) => new(message, signature) { IsMeasured = true };

    private static string Shown(string sentence) => string.Concat(
        sentence.Take(300).Select(c => c is >= ' ' and <= '~' ? c.ToString() : $"\\u{(int)c:x4}")) + (sentence.Length > 300 ? "..." : "");
}
