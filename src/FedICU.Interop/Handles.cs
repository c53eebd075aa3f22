using System.Collections.Concurrent;

namespace FedICU.Interop;

/// <summary>
/// The objects that callers hold, by number. Unlike with a pointer, a number that is unknown or was destroyed is
/// detected.
/// </summary>
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

    /// <summary>Gets the object of a handle.</summary>
    /// <exception cref="ArgumentException">The handle has no object, or one of another type.</exception>
    public static T Get<T>(long handle) where T : class => Held.GetValueOrDefault(handle) as T ??
        throw new ArgumentException($"The handle {handle} is unknown: it was destroyed, or is not of this kind.");

    /// <summary>Removes a handle and disposes of its object. 0 does nothing.</summary>
    public static void Remove<T>(long handle) where T : class, IDisposable
    {
        if (handle == 0)
            return;
        T held = Get<T>(handle);
        if (Held.TryRemove(handle, out _))
            held.Dispose();
    }
}
