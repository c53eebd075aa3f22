using FedICU.Text;

namespace FedICU.Extensions;

/// <content>How an update arrives.</content>
public sealed partial class FederatedRounds
{
    // bytes of an update beside its tensors, header included: chosen
    private const long HeaderBytes = 1 << 20;

    // the widest type has 8 bytes an element, the narrowest type of a global model that is trained 2
    private const int WidestShare = 4;

    /// <summary>Receives the update of a client for a round. When the task completes, it survives a restart.</summary>
    /// <param name="round">The number of the round that the client trained for.</param>
    /// <param name="client">The client's id.</param>
    /// <param name="upload">The bytes of a safetensors file; read to its end and not disposed.</param>
    /// <param name="examples">The client's weight; null: from the file's metadata.</param>
    /// <param name="statements">What the client states about its training; null: from the file's metadata.</param>
    /// <param name="cancellationToken">Ends the reading; the update is not added.</param>
    /// <returns>Whether the client had sent the same update before.</returns>
    /// <exception cref="RoundRejectedException">
    /// The update is refused. <see cref="RoundRejectedException.ClientMessage"/> is the sentence for the client.
    /// <see cref="RoundFault.Late"/>: the round, or this attempt of it, takes no more updates.
    /// <see cref="RoundFault.NotOpen"/>: the round is being opened, and the same update may be sent again soon.
    /// </exception>
    /// <exception cref="FedIcuException">The folder cannot be written.</exception>
    /// <exception cref="InvalidOperationException">The host has not started the rounds, or stopped them.</exception>
    public async Task<UpdateReceipt> AddAsync(
        long round, string client, Stream upload, double? examples = null, ClientStatements? statements = null,
        CancellationToken cancellationToken = default)
    {
        ArgumentException.ThrowIfNullOrEmpty(client);
        ArgumentNullException.ThrowIfNull(upload);
        try
        {
            return await FederatedRoundsTelemetry.ObserveUploadAsync(
                upload, counted => ReceiveAsync(round, client, counted, examples, statements, cancellationToken)).ConfigureAwait(false);
        }
        catch (RoundRejectedException e)
        {
            LogRefusedUpdate(round, e.Fault, e.Message);
            throw;
        }
    }

    private async Task<UpdateReceipt> ReceiveAsync(
        long number, string client, Stream upload, double? examples, ClientStatements? statements, CancellationToken cancellationToken)
    {
        RunningRound round;
        lock (_gate)
        {
            round = GetCurrent();
            if (CreateRefusal(number, client) is { } refusal)
                throw refusal;
        }

        UpdateReceipt receipt;
        try
        {
            long most = _options.MaxUpdateBytes ?? (WidestShare * round.Global.TotalBytes) + HeaderBytes;
            receipt = await round.Session.AddAsync(client, upload, examples, most, statements, cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is ObjectDisposedException or RoundRejectedException { Fault: RoundFault.Late })
        {
            lock (_gate)
            {
                // the round ended during the upload; or it began again, and takes the same update in its next attempt
                if (GetCurrent() != round || _opening is not null)
                    throw CreateRefusal(number, client) ?? CreateNotOpen(number, client);
            }

            throw;
        }

        if (receipt.IsRepeated)
            LogRepeated(number, Sentence.Clean(client));
        else
            LogAdded(number, Sentence.Clean(client), round.Session.Count, _options.ExpectedClients);
        return receipt;
    }

    /// <summary>
    /// Refuses an update for a round that takes none now; null if the round takes it. Inside the lock.
    /// </summary>
    private RoundRejectedException? CreateRefusal(long number, string client)
    {
        long open = _opening ?? GetCurrent().Number;
        if (number > open)
        {
            return new RoundRejectedException(
                RoundFault.Stale, $"{Name(client)}: round {number} has not begun; an update for round {open} was expected.", client);
        }

        if (number == open && !IsAfterLast(number))
            return _opening is null ? null : CreateNotOpen(number, client);
        string over = IsAfterLast(number) || IsAfterLast(open) ? "all rounds are over" : $"round {number} is over";
        return new RoundRejectedException(RoundFault.Late, $"{Name(client)}: {over}; its update came too late.", client);
    }

    private static RoundRejectedException CreateNotOpen(long number, string client) =>
        new(RoundFault.NotOpen, $"{Name(client)}: round {number} is not open yet; the update may be sent again soon.", client);

    private static string Name(string client) => $"Client {Sentence.Quote(client)}";
}
