using FedICU.Files;

namespace FedICU;

/// <content>How the round and the session end.</content>
public sealed partial class AggregationSession
{
    /// <summary>
    /// Seals the round: updates of other clients that arrive from now on, or are arriving, are refused as
    /// <see cref="RoundFault.Late"/>. The journal stores it, so a restart changes nothing. An update may still be
    /// retracted.
    /// </summary>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Seal()
    {
        lock (_gate)
        {
            ThrowIfDisposed();
            _seal.Set();
        }
    }

    /// <summary>
    /// Ends the session and removes its files, and its folder if nothing else is in it. Updates that are arriving end,
    /// and copies among them are waited for; no file appears afterwards.
    /// </summary>
    /// <exception cref="FedIcuException">The folder cannot be written; the session still exists.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public void Delete()
    {
        Task copies;
        lock (_gate)
        {
            ThrowIfDisposed();
            // in this order, so that a crash at any point leaves a whole session or none
            _journal.Clear();
            _isEnded = true;
            _arrivals.Clear();
            copies = _uploads.End();
        }

        // they create files outside the lock
        copies.GetAwaiter().GetResult();
        lock (_gate)
        {
            _spool.RemoveAllBut([]);
            _journal.Remove();
        }

        try
        {
            Directory.Delete(_folder);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // not empty: the other files are not the session's
        }
    }

    /// <summary>
    /// Closes the session, which stays on the disk. Updates that are arriving end and are not added.
    /// </summary>
    public void Dispose()
    {
        lock (_gate)
        {
            _isEnded = true;
            _uploads.End();
            _journal.Dispose();
        }
    }

    /// <summary>
    /// Seals the round. If the journal cannot be written, the next change of the session tries again.
    /// </summary>
    internal void TrySeal()
    {
        lock (_gate)
        {
            if (!_isEnded)
                _seal.TrySet();
        }
    }
}
