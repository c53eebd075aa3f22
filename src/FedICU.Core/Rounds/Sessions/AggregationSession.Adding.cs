using FedICU.Rounds.Sessions;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU;

/// <content>How an update arrives.</content>
public sealed partial class AggregationSession
{
    /// <summary>
    /// Checks an update as a round does and copies it into the session's folder, byte for byte. When the task
    /// completes, the copy is on the disk, and the update's own file or memory is no longer used.
    /// </summary>
    /// <param name="update">
    /// The update. It is refused for any fault for which the policies would drop its client, and for a weight that does
    /// not fit the other updates' weights.
    /// </param>
    /// <param name="cancellationToken">Ends the copying; the update is not added.</param>
    /// <returns>
    /// The copy. If the client has sent the same update before, it is the copy of that one, and nothing is added.
    /// </returns>
    /// <exception cref="RoundRejectedException">
    /// The update is refused; names client, tensor, expected and found. <see cref="RoundFault.Duplicate"/>: the client
    /// has sent another update. <see cref="RoundFault.Late"/>: the round was sealed, before or meanwhile.
    /// </exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="OperationCanceledException">The copying was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public Task<UpdateReceipt> AddAsync(ClientUpdate update, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(update);
        return FedIcuTelemetry.ObserveArrivalAsync(() => Task.Run(() => Add(update, cancellationToken), cancellationToken));
    }

    /// <summary>
    /// Receives an update in a safetensors file as a stream: writes it to the session's folder as it comes, then checks
    /// it as a round does. Memory holds 64 KiB of it. If the stream breaks or the update is refused, nothing is left.
    /// An upload waits for an earlier one of the same client.
    /// </summary>
    /// <param name="id">The client's id. The caller vouches for it: the session does not authenticate.</param>
    /// <param name="upload">The file's bytes; read to its end and not disposed.</param>
    /// <param name="examples">The client's weight; null: from the file's metadata.</param>
    /// <param name="maxBytes">
    /// The most bytes that the stream may have, at least 1; null: no limit. Give a limit to clients that you do not
    /// trust.
    /// </param>
    /// <param name="statements">
    /// What the client states about its training, without control variates; null: from the file's metadata.
    /// </param>
    /// <param name="cancellationToken">Ends the reading; the update is not added.</param>
    /// <returns>
    /// The copy. If the client has sent the same bytes and statements before, it is the copy of those, and nothing is
    /// added.
    /// </returns>
    /// <exception cref="RoundRejectedException">
    /// The update is refused, as for an update in a file; <see cref="RoundFault.TooLarge"/>: the stream has more bytes
    /// than <paramref name="maxBytes"/>.
    /// </exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="IOException">The stream broke; so do all exceptions that reading it throws.</exception>
    /// <exception cref="OperationCanceledException">The reading was cancelled.</exception>
    /// <exception cref="ObjectDisposedException">The session was disposed or deleted.</exception>
    public Task<UpdateReceipt> AddAsync(
        string id, Stream upload, double? examples = null, long? maxBytes = null, ClientStatements? statements = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(id);
        ArgumentNullException.ThrowIfNull(upload);
        if (maxBytes is { } most)
            ArgumentOutOfRangeException.ThrowIfLessThan(most, 1, nameof(maxBytes));
        return FedIcuTelemetry.ObserveArrivalAsync(() => ReceiveAsync(id, upload, examples, maxBytes, statements, cancellationToken));
    }

    private async Task<UpdateReceipt> ReceiveAsync(
        string id, Stream upload, double? examples, long? maxBytes, ClientStatements? statements, CancellationToken cancellationToken)
    {
        SessionArriving arriving = Begin(id, isCopy: false, cancellationToken);
        string path = _spool.NewPlace(isFolder: false);
        bool kept = false;
        try
        {
            using IDisposable turn = await _turns.TakeAsync(id, arriving.Token).ConfigureAwait(false);
            SafeFileHandle file = CreateFile(id, path);
            (long length, string digest) =
                await SessionUpload.WriteAsync(id, upload, file, path, maxBytes, arriving.Token).ConfigureAwait(false);
            var update = ClientUpdate.FromUpload(id, path, examples, statements);
            return await Task.Run(
                () => Commit(Read(id, () => _intake.Check(update, (path, length, digest), CheckWeight, arriving.Token)), out kept),
                arriving.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (IsEnd(e, arriving))
        {
            throw CreateEnd(id);
        }
        finally
        {
            End(arriving, kept ? null : path);
        }
    }

    private UpdateReceipt Add(ClientUpdate update, CancellationToken cancellationToken)
    {
        SessionArriving arriving = Begin(update.Id, isCopy: true, cancellationToken);
        string? path = null;
        bool kept = false;
        try
        {
            return Commit(Read(update.Id, () => _intake.Copy(update, ref path, CheckWeight, arriving.Token)), out kept);
        }
        catch (Exception e) when (IsEnd(e, arriving))
        {
            throw CreateEnd(update.Id);
        }
        finally
        {
            End(arriving, kept ? null : path);
        }
    }

    /// <summary>Begins an update. Refuses a client whose update could not be added, before any of it is read.</summary>
    private SessionArriving Begin(string id, bool isCopy, CancellationToken cancellationToken)
    {
        if (!Sentence.IsUnicode(id))
        {
            throw new RoundRejectedException(
                RoundFault.Round,
                $"Client {Sentence.Quote(id)} has an id with half of a surrogate pair; valid Unicode was expected.", id);
        }

        lock (_gate)
        {
            CheckOpen(id);
            return _uploads.Begin(id, isCopy, cancellationToken);
        }
    }

    /// <summary>Ends an update, and removes its file.</summary>
    private void End(SessionArriving arriving, string? path)
    {
        if (path is not null)
            SessionSpool.Remove(path);
        lock (_gate)
            _uploads.Remove(arriving);
    }

    /// <summary>
    /// Creates an upload's file. Inside the lock, so that none appears after the session was deleted.
    /// </summary>
    private SafeFileHandle CreateFile(string id, string path)
    {
        lock (_gate)
        {
            CheckOpen(id);
            return SessionUpload.Create(path);
        }
    }

    /// <summary>Refuses a client whose update could not be added. Inside the lock.</summary>
    private void CheckOpen(string id)
    {
        ThrowIfDisposed();
        if (IsSealed && _arrivals.Find(id) is null)
            throw CreateLate(id);
        // after a disk fault: while the disk is full, nothing more is written to it
        _journal.Repair();
        _uncertain.ForEach(SessionSpool.Remove);
        _uncertain.Clear();
    }

    /// <summary>Adds a checked update whose file is on the disk, unless the client has sent one already.</summary>
    /// <param name="line">The line of the update.</param>
    /// <param name="kept">Whether the journal has, or may have, the line, so that the file must stay.</param>
    private UpdateReceipt Commit(JournalLine line, out bool kept)
    {
        kept = false;
        string id = line.Add!;
        lock (_gate)
        {
            ThrowIfDisposed();
            if (_arrivals.Find(id) is { } stored)
            {
                return stored.IsSameAs(line) ? new UpdateReceipt(stored.Update, IsRepeated: true) : throw new RoundRejectedException(
                    RoundFault.Duplicate, $"Client {Sentence.Quote(id)} has sent another update already; one of each client was expected.",
                    id);
            }

            _seal.WriteIfDue();
            if (IsSealed)
                throw CreateLate(id);
            // again, as others may have arrived while this one was copied
            _arrivals.CheckWeight($"Client {Sentence.Quote(id)}", id, line.Weight);
            ClientUpdate copy = _spool.OpenUpdate(line, fault: null);
            try
            {
                _journal.Append(line);
            }
            catch (FedIcuException) when (_journal.IsUncertain)
            {
                kept = true;
                _uncertain.Add(copy.Path!);
                throw;
            }

            kept = true;
            _arrivals.AddNext(copy, line.Digest!);
            _seal.SetIfFull(_arrivals.Count);
            return new UpdateReceipt(copy, IsRepeated: false);
        }
    }

    /// <summary>
    /// Whether an exception comes from the session's end or seal. A deleted session's files are gone, which is no fault
    /// of the client whose update was just checked.
    /// </summary>
    private bool IsEnd(Exception e, SessionArriving arriving)
    {
        // a stream may have an exception of its own for a cancelled read
        if (arriving.IsEnded && e is not RoundRejectedException)
            return true;
        lock (_gate)
            return e is FedIcuException && _isEnded;
    }

    /// <summary>Creates the exception for an update that the session ended.</summary>
    private Exception CreateEnd(string id)
    {
        lock (_gate)
            return _isEnded ? new ObjectDisposedException(nameof(AggregationSession)) : CreateLate(id);
    }

    private RoundRejectedException CreateLate(string id)
    {
        string round = Options.Round is { } number ? $"round {number}" : "the round";
        return new RoundRejectedException(
            RoundFault.Late, $"Client {Sentence.Quote(id)}: {round} was sealed; its update came too late.", id);
    }

    /// <summary>Reads an update; a file that cannot be read becomes the client's fault.</summary>
    private static JournalLine Read(string id, Func<JournalLine> read)
    {
        try
        {
            return read();
        }
        catch (InvalidModelException e)
        {
            throw new RoundRejectedException(id, null, e);
        }
    }

    private void CheckWeight(string name, string id, double? stated)
    {
        lock (_gate)
        {
            // a client that sends again is compared with what it sent before
            if (_arrivals.Find(id) is null)
                _arrivals.CheckWeight(name, id, stated);
        }
    }
}
