using System.Collections.Concurrent;

namespace FedICU.Interop;

/// <summary>What callers hold, by number: an unknown number, or one that was destroyed, is found out, which a pointer would not be.</summary>
internal static class Handles
{
    private static readonly ConcurrentDictionary<long, IDisposable> Held = new();
    private static long _last;

    public static long Count => Held.Count;

    public static long Add(IDisposable held)
    {
        long handle = Interlocked.Increment(ref _last);
        Held[handle] = held;
        return handle;
    }

    /// <summary>What the handle stands for.</summary>
    /// <exception cref="ArgumentException">It stands for nothing, or for something else.</exception>
    public static T Get<T>(long handle) where T : class =>
        Held.GetValueOrDefault(handle) as T ?? throw new ArgumentException($"The handle {handle} is unknown: it was destroyed, or is not of this kind.");

    /// <summary>Forgets and frees; 0 is nothing.</summary>
    public static void Remove<T>(long handle) where T : class, IDisposable
    {
        if (handle == 0)
            return;
        T held = Get<T>(handle);
        if (Held.TryRemove(handle, out _))
            held.Dispose();
    }
}
