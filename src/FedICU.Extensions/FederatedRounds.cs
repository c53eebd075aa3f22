using FedICU.Text;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions;

/// <summary>
/// Runs round after round for a server that clients upload to. It owns the global model, the session of the current
/// round and the rule's state; completes a round when its clients have come or its deadline passes; publishes the next
/// global model and begins the next round. It goes on after a restart at any moment. Thread-safe.
/// </summary>
/// <remarks>
/// <c>AddFedIcuRounds</c> registers it; the host starts and stops it. It authenticates nobody: the caller vouches for
/// the client's id.
/// </remarks>
public sealed partial class FederatedRounds : IAsyncDisposable
{
    // bytes of an update beside its tensors, header included: chosen
    private const long HeaderBytes = 1 << 20;

    // the widest type has 8 bytes an element, the narrowest type of a global model that is trained 2
    private const int WidestShare = 4;

    private readonly Lock _gate = new();
    private readonly ILogger<FederatedRounds> _logger;
    private readonly FederatedRoundsOptions _options;
    private readonly ConfiguredRound _configured;
    private readonly TimeProvider _clock;
    private readonly CancellationTokenSource _stopping = new();
    private readonly List<FinishedRound> _finished = [];
    private RoundFolders? _folders;
    private RunningRound? _current;
    private Task _running = Task.CompletedTask;
    private TaskCompletionSource _changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private string? _lastFailure;
    private bool _disposed;

    internal FederatedRounds(
        IServiceProvider services, IOptions<FederatedRoundsOptions> options, ILogger<FederatedRounds> logger, TimeProvider? clock = null)
    {
        (_logger, _options, _clock) = (logger, options.Value, clock ?? TimeProvider.System);
        _configured = services.GetRequiredKeyedService<ConfiguredRound>(_options.Aggregator);
    }

    /// <summary>Gets the state of the current round.</summary>
    /// <exception cref="InvalidOperationException">The host has not started the rounds, or stopped them.</exception>
    public FederatedRoundStatus Status
    {
        get
        {
            lock (_gate)
            {
                RunningRound round = GetCurrent();
                bool isFinished = IsAfterLast(round.Number);
                return new FederatedRoundStatus
                {
                    Number = round.Number,
                    IsOpen = !isFinished && !round.Session.IsSealed,
                    IsFinished = isFinished,
                    BaseDigest = round.Session.BaseDigest,
                    Clients = [.. round.Session.Arrivals.Select(arrival => arrival.Update.Id)],
                    ExpectedClients = _options.ExpectedClients,
                    Deadline = isFinished ? null : round.Deadline,
                    LastFailure = _lastFailure,
                };
            }
        }
    }

    /// <summary>Gets the rounds that ended in a model, in ascending order.</summary>
    public IReadOnlyList<FinishedRound> Finished
    {
        get
        {
            lock (_gate)
                return [.. _finished];
        }
    }

    /// <summary>
    /// Finds the global model that a round begins with: a safetensors file, or an adapter's folder. It is never changed
    /// once it exists. Null if the round has not begun, or its model is not kept any more.
    /// </summary>
    /// <param name="round">The number of the round.</param>
    /// <exception cref="InvalidOperationException">The host has not started the rounds, or stopped them.</exception>
    public string? FindModel(long round)
    {
        lock (_gate)
        {
            GetCurrent();
            return _folders!.FindModel(round);
        }
    }

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
            return await ReceiveAsync(round, client, upload, examples, statements, cancellationToken).ConfigureAwait(false);
        }
        catch (RoundRejectedException e)
        {
            LogRefusedUpdate(round, e.Fault, e.Message);
            throw;
        }
    }

    /// <summary>Waits until a round has begun, which is when its global model can be downloaded.</summary>
    /// <param name="round">The number of the round.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    /// <exception cref="InvalidOperationException">The host has not started the rounds, or stopped them.</exception>
    public async Task WaitForRoundAsync(long round, CancellationToken cancellationToken = default)
    {
        while (true)
        {
            Task changed;
            lock (_gate)
            {
                if (GetCurrent().Number >= round)
                    return;
                changed = _changed.Task;
            }

            await changed.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>
    /// Stops the rounds. The current one stays on the disk, and the next start goes on with it. An aggregation that is
    /// under way is abandoned and done again.
    /// </summary>
    public async ValueTask DisposeAsync()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
        }

        await _stopping.CancelAsync().ConfigureAwait(false);
        await _running.ConfigureAwait(false);
        lock (_gate)
        {
            _current?.Dispose();
            _current = null;
            _folders?.Dispose();
            _changed.TrySetResult();
        }

        _stopping.Dispose();
    }

    private async Task<UpdateReceipt> ReceiveAsync(
        long number, string client, Stream upload, double? examples, ClientStatements? statements, CancellationToken cancellationToken)
    {
        RunningRound round;
        lock (_gate)
            round = GetCurrent();
        string name = $"Client {Sentence.Quote(client)}";
        if (number < round.Number || (number == round.Number && IsAfterLast(number)))
            throw CreateLate();
        if (number > round.Number)
        {
            throw new RoundRejectedException(
                RoundFault.Stale, $"{name}: round {number} has not begun; an update for round {round.Number} was expected.", client);
        }

        UpdateReceipt receipt;
        try
        {
            long most = _options.MaxUpdateBytes ?? (WidestShare * round.Global.TotalBytes) + HeaderBytes;
            receipt = await round.Session.AddAsync(client, upload, examples, most, statements, cancellationToken).ConfigureAwait(false);
        }
        catch (ObjectDisposedException) when (!_disposed)
        {
            // the round ended during the upload
            throw CreateLate();
        }

        if (receipt.IsRepeated)
            LogRepeated(number, Sentence.Clean(client));
        else
            LogAdded(number, Sentence.Clean(client), round.Session.Count, _options.ExpectedClients);
        return receipt;

        RoundRejectedException CreateLate()
        {
            string over = IsAfterLast(number) ? "all rounds are over" : $"round {number} is over";
            return new RoundRejectedException(RoundFault.Late, $"{name}: {over}; its update came too late.", client);
        }
    }

    private RunningRound GetCurrent() => _current ?? throw new InvalidOperationException("The rounds are not running.");

    private bool IsAfterLast(long round) => round > _options.LastRound;
}
