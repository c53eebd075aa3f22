namespace FedICU.Rounds.Sessions;

/// <summary>
/// Lets each client send one upload at a time, so that a client that sends many takes no more room on the disk than one
/// that sends a single one. Thread-safe.
/// </summary>
internal sealed class ClientTurns
{
    private readonly Dictionary<string, Turn> _turns = new(StringComparer.Ordinal);

    /// <summary>Waits until no other upload of the client is under way.</summary>
    /// <returns>The turn, which ends when it is disposed.</returns>
    public async Task<IDisposable> TakeAsync(string client, CancellationToken cancellationToken)
    {
        Turn? turn;
        lock (_turns)
        {
            if (!_turns.TryGetValue(client, out turn))
                _turns.Add(client, turn = new Turn(this, client));
            turn.Users++;
        }

        try
        {
            await turn.Gate.WaitAsync(cancellationToken).ConfigureAwait(false);
            return turn;
        }
        catch
        {
            Leave(turn);
            throw;
        }
    }

    private void Leave(Turn turn)
    {
        lock (_turns)
        {
            if (--turn.Users > 0)
                return;
            _turns.Remove(turn.Client);
        }

        turn.Gate.Dispose();
    }

    private sealed class Turn(ClientTurns turns, string client) : IDisposable
    {
        public string Client => client;

        public SemaphoreSlim Gate { get; } = new(1);

        // uploads that have the turn or wait for it
        public int Users { get; set; }

        public void Dispose()
        {
            Gate.Release();
            turns.Leave(this);
        }
    }
}
