using System.Collections.Concurrent;

namespace FedICU.Files;

/// <summary>What the files of one round share: how many of them stay open, and the layouts that several of them have. Thread-safe.</summary>
/// <param name="mostOpen">So many files stay open. Those that come later are opened for each read.</param>
internal sealed class RoundFiles(int mostOpen)
{
    // sockets, logs and other rounds of the process need handles too
    private const int ShareOfLimit = 4, FewestOpen = 8, MostOpen = 8192, OpenWhereLimitIsUnknown = 512;

    // weak, so that the layout of a client that is dropped goes with it
    private readonly ConcurrentDictionary<(string? First, int Tensors, long Bytes), WeakReference<SafetensorsHeader>> _known = new();
    private readonly ConcurrentDictionary<int, WeakReference<PeftAdapterConfig>> _configs = new();
    // what files that are opened for each read keep of the last one, together, and one at most
    private const int KeptBytes = 256 << 20, MostKept = 1 << 16;
    private int _left = mostOpen, _reopened;

    /// <summary>So many bytes a file that is opened for a read takes at once, so that it is not opened for each of its small tensors.</summary>
    public int BlockBytes => Math.Min(KeptBytes / Math.Max(_reopened, 1), MostKept);

    /// <summary>A fourth of the handles that the process may have stay open.</summary>
    public RoundFiles() : this((int)Math.Clamp((FileAdvice.HandleLimit ?? ShareOfLimit * OpenWhereLimitIsUnknown) / ShareOfLimit, FewestOpen, MostOpen))
    {
    }

    /// <summary>
    /// Whether one file more may stay open; then <see cref="Closed"/> is owed. First come, first kept: clients are read in turn, and to close the file unused for
    /// longest would close each one just before it is wanted.
    /// </summary>
    public bool TryKeepOpen()
    {
        if (Interlocked.Decrement(ref _left) >= 0)
            return true;
        Interlocked.Increment(ref _left);
        Interlocked.Increment(ref _reopened);
        return false;
    }

    public void Closed() => Interlocked.Increment(ref _left);

    /// <summary>
    /// The same header, with its names, types, shapes and places shared with an open file of the same layout. A round's clients have the
    /// same, and those of
    /// thousands of them would fill the memory.
    /// </summary>
    public SafetensorsHeader Share(SafetensorsHeader header)
    {
        var key = (header.Tensors.FirstOrDefault()?.Name, header.Tensors.Length, header.Tensors.Sum(tensor => tensor.ByteLength));
        WeakReference<SafetensorsHeader> known = _known.GetOrAdd(key, _ => new WeakReference<SafetensorsHeader>(header));
        if (known.TryGetTarget(out SafetensorsHeader? first) && header.SharingWith(first) is var shared && shared != header)
            return shared;
        // the first, or one whose other client went, or had another layout of the same size
        known.SetTarget(header);
        return header;
    }

    /// <summary>An adapter's configuration, which clients with the same bytes share.</summary>
    public PeftAdapterConfig Config(byte[] json, string path)
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
}
