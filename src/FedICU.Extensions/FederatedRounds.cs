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
    private readonly Lock _gate = new();
    private readonly ILogger<FederatedRounds> _logger;
    private readonly FederatedRoundsOptions _options;
    private readonly ConfiguredRound _configured;
    private readonly TimeProvider _clock;
    private readonly CancellationTokenSource _stopping = new();
    private FinishedRounds? _finished;
    private RoundFolders? _folders;
    private RunningRound? _current;

    // the round that is being opened: the next one, or the current one again; null while the current one goes on
    private long? _opening;
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
                    Attempt = round.Attempt,
                    IsOpen = !isFinished && _opening is null && !round.Session.IsSealed,
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

    /// <summary>
    /// Gets the newest rounds that ended in a model, at most <see cref="FederatedRoundsOptions.ListedRounds"/>, in
    /// ascending order. Their reports are read when they are asked for first; a round whose report is damaged is
    /// missing.
    /// </summary>
    public IReadOnlyList<FinishedRound> Finished => _finished?.List() ?? [];

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
            return round <= GetCurrent().Number ? _folders!.FindModel(round) : null;
        }
    }

    /// <summary>
    /// Finds the file of a round's report, which is kept for every round; null if the round is not over or left none.
    /// </summary>
    /// <param name="round">The number of the round.</param>
    /// <exception cref="InvalidOperationException">The host has not started the rounds, or stopped them.</exception>
    public string? FindReport(long round)
    {
        lock (_gate)
            return round < GetCurrent().Number ? _folders!.FindReport(round) : null;
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

    private RunningRound GetCurrent() => _current ?? throw new InvalidOperationException("The rounds are not running.");

    private bool IsAfterLast(long round) => round > _options.LastRound;
}
