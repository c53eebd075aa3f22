using FedICU.Rounds.Sessions;
using FedICU.Text;

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
    /// has sent another update. <see cref="RoundFault.Late"/>: the round was sealed.
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
        CheckOpen(id);
        using IDisposable turn = await _turns.TakeAsync(id, cancellationToken).ConfigureAwait(false);
        CheckOpen(id);
        string path = _spool.NewPlace(isFolder: false);
        bool added = false;
        try
        {
            (long length, string digest) =
                await SessionUpload.WriteAsync(id, upload, path, maxBytes, cancellationToken).ConfigureAwait(false);
            var update = ClientUpdate.FromUpload(id, path, examples, statements);
            return await Task.Run(
                () => Commit(Read(id, () => _intake.Check(update, (path, length, digest), CheckWeight, cancellationToken)), out added),
                cancellationToken).ConfigureAwait(false);
        }
        catch (FedIcuException) when (IsDisposed())
        {
            throw new ObjectDisposedException(nameof(AggregationSession));
        }
        finally
        {
            if (!added)
                SessionSpool.Remove(path);
        }
    }

    private UpdateReceipt Add(ClientUpdate update, CancellationToken cancellationToken)
    {
        CheckOpen(update.Id);
        string? path = null;
        bool added = false;
        try
        {
            return Commit(Read(update.Id, () => _intake.Copy(update, ref path, CheckWeight, cancellationToken)), out added);
        }
        catch (FedIcuException) when (IsDisposed())
        {
            throw new ObjectDisposedException(nameof(AggregationSession));
        }
        finally
        {
            if (!added && path is not null)
                SessionSpool.Remove(path);
        }
    }

    /// <summary>Refuses a client whose update could not be added, before any of it is read.</summary>
    private void CheckOpen(string id)
    {
        string name = $"Client {Sentence.Quote(id)}";
        if (!Sentence.IsUnicode(id))
        {
            throw new RoundRejectedException(
                RoundFault.Round, $"{name} has an id with half of a surrogate pair; valid Unicode was expected.", id);
        }

        lock (_gate)
        {
            ThrowIfDisposed();
            if (IsSealed && _arrivals.Find(id) is null)
                throw CreateLate(id);
        }
    }

    /// <summary>Adds a checked update whose file is on the disk, unless the client has sent one already.</summary>
    private UpdateReceipt Commit(JournalLine line, out bool added)
    {
        added = false;
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
            _journal.Append(line);
            added = true;
            _arrivals.AddNext(copy, line.Digest!);
            _seal.SetIfFull(_arrivals.Count);
            return new UpdateReceipt(copy, IsRepeated: false);
        }
    }

    /// <summary>
    /// Whether the session was disposed or deleted meanwhile. A deleted session's files are gone, which is no fault of
    /// the client whose update was just checked.
    /// </summary>
    private bool IsDisposed()
    {
        lock (_gate)
            return _journal.IsClosed;
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
