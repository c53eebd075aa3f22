using System.Collections.Concurrent;

namespace FedICU.Files;

/// <summary>
/// The state that all files of a round share: the number of files that stay open, and the headers and configurations
/// that several files have in common. Thread-safe.
/// </summary>
/// <param name="mostOpen">
/// The number of files that stay open; null for a share of the process's limit. Files opened later are opened again for
/// each read.
/// </param>
internal sealed class RoundFiles(int? mostOpen = null)
{
    // A round takes one in four of the handles that the process may have: sockets, logs and other rounds need some too.
    // Chosen.
    private const int ShareOfHandles = 4;

    // open files: the fewest and the most whatever the limit, and the number if the limit is unknown; chosen
    private const int FewestOpen = 8;
    private const int MostOpen = 8192;
    private const int OpenIfLimitIsUnknown = 512;

    // bytes that all files that are opened again for each read cache together; chosen
    private const int CachedBytes = 256 << 20;

    // bytes that one of these files caches at most; chosen
    private const int LargestBlock = 1 << 16;

    // Weak references, so that the header of a dropped client is collected with it.
    private readonly ConcurrentDictionary<(string? First, int Tensors, long Bytes), WeakReference<SafetensorsHeader>> _headers = new();
    private readonly ConcurrentDictionary<int, WeakReference<PeftAdapterConfig>> _configs = new();
    private int _free = mostOpen ?? ShareOfLimit();
    private int _reopened;

    /// <summary>
    /// Gets the number of bytes that a file reads at once each time it is opened again. Larger reads avoid opening it
    /// for each small tensor.
    /// </summary>
    public int BlockBytes => Math.Min(CachedBytes / Math.Max(_reopened, 1), LargestBlock);

    /// <summary>
    /// Reserves a place for one more open file, to be freed with <see cref="ReleaseOpen"/>. The first files are kept
    /// open: clients are read in turn, so closing the least recently used file would close each one just before its
    /// next use.
    /// </summary>
    public bool TryKeepOpen()
    {
        if (Interlocked.Decrement(ref _free) >= 0)
            return true;
        Interlocked.Increment(ref _free);
        Interlocked.Increment(ref _reopened);
        return false;
    }

    /// <summary>Frees the place of a file that stayed open.</summary>
    public void ReleaseOpen() => Interlocked.Increment(ref _free);

    /// <summary>
    /// Returns the header with its tensor list replaced by that of an open file with the same layout, if there is one.
    /// All clients of a round usually have the same layout, and thousands of copies would fill the memory.
    /// </summary>
    public SafetensorsHeader Share(SafetensorsHeader header)
    {
        var key = (header.Tensors.FirstOrDefault()?.Name, header.Tensors.Length, header.Tensors.Sum(tensor => tensor.ByteLength));
        WeakReference<SafetensorsHeader> known = _headers.GetOrAdd(key, _ => new WeakReference<SafetensorsHeader>(header));
        if (known.TryGetTarget(out SafetensorsHeader? first) && header.SharingWith(first) is var shared && shared != header)
            return shared;
        // This is the first file with this key, or the known one was collected, or has a different layout of the same
        // size.
        known.SetTarget(header);
        return header;
    }

    /// <summary>Returns an adapter's configuration. Clients with the same bytes share one instance.</summary>
    public PeftAdapterConfig ShareConfig(byte[] json, string path)
    {
        var hash = new HashCode();
        hash.AddBytes(json);
        int key = hash.ToHashCode();
        if (_configs.TryGetValue(key, out var known) && known.TryGetTarget(out PeftAdapterConfig? shared) &&
            shared.RawJson.Span.SequenceEqual(json))
        {
            return shared;
        }

        var config = PeftAdapterConfig.Parse(json, path);
        _configs[key] = new WeakReference<PeftAdapterConfig>(config);
        return config;
    }

    private static int ShareOfLimit()
    {
        long limit = FileAdvice.HandleLimit ?? ShareOfHandles * OpenIfLimitIsUnknown;
        return (int)Math.Clamp(limit / ShareOfHandles, FewestOpen, MostOpen);
    }
}
