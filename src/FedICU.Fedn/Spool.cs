using FedICU.Files;

namespace FedICU.Fedn;

/// <summary>
/// The folder in which all combiners' models are stored, and the number of bytes that they take together. One process
/// at a time uses a spool. Thread-safe.
/// </summary>
internal sealed class Spool : IDisposable
{
    private const string LockName = "lock", RoundsName = "rounds";

    private readonly long _limit;
    private readonly FileStream _lock;
    private long _used;

    /// <param name="folder">The folder; created with the mode 0700 if it is missing.</param>
    /// <param name="limit">The most bytes of all files.</param>
    /// <exception cref="FedIcuException">
    /// The folder is not this user's alone, cannot be written, or is in use by another process.
    /// </exception>
    public Spool(string folder, long limit)
    {
        _limit = limit;
        Folder = folder;
        PrivateFolder.Open(folder, "The spool folder");
        try
        {
            _lock = new FileStream(Path.Combine(folder, LockName), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new FedIcuException(
                $"The spool folder '{folder}' is in use by another process; each process needs its own (FedIcu:Spool).", e);
        }

        try
        {
            PrivateFolder.Create(Rounds);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _lock.Dispose();
            throw new FedIcuException($"The spool folder '{folder}' cannot be written: {FileFailure.Describe(e)}.", e);
        }
    }

    public string Folder { get; }

    /// <summary>The folder of the combiners' rounds, with a folder for each.</summary>
    public string Rounds => Path.Combine(Folder, RoundsName);

    /// <summary>The bytes that are reserved for all files.</summary>
    public long Used => Interlocked.Read(ref _used);

    /// <summary>Reserves bytes before they are written.</summary>
    /// <exception cref="SpoolFullException">They would exceed the limit. Nothing is reserved.</exception>
    public void Reserve(long bytes)
    {
        // another call may reserve between the reading and the exchange
        for (long used = Used; ; used = Used)
        {
            if (bytes > _limit - used)
            {
                throw new SpoolFullException(
                    $"the spool holds {used} bytes, and {bytes} more would exceed its limit of {_limit} (FedIcu:MaxSpoolBytes).");
            }

            if (Interlocked.CompareExchange(ref _used, used + bytes, used) == used)
                return;
        }
    }

    /// <summary>Changes the reserved bytes to what a file takes that exists; the limit does not apply.</summary>
    public void Adjust(long bytes) => Interlocked.Add(ref _used, bytes);

    public void Dispose() => _lock.Dispose();
}
