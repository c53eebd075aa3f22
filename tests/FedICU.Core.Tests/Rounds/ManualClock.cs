namespace FedICU.Tests;

/// <summary>A clock that only moves when it is advanced, and runs the timers that are due then.</summary>
internal sealed class ManualClock : TimeProvider
{
    private readonly List<(DateTimeOffset Due, Action Ring)> _timers = [];

    public DateTimeOffset Now { get; private set; } = new(2026, 1, 2, 3, 4, 5, TimeSpan.Zero);

    public void Advance(TimeSpan time)
    {
        Now += time;
        foreach ((DateTimeOffset due, Action ring) in _timers.ToList())
        {
            if (due <= Now)
            {
                _timers.Remove((due, ring));
                ring();
            }
        }
    }

    public override DateTimeOffset GetUtcNow() => Now;

    public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
    {
        var timer = new Timer();
        _timers.Add((Now + dueTime, () =>
        {
            if (!timer.IsStopped)
                callback(state);
        }
        ));
        return timer;
    }

    private sealed class Timer : ITimer
    {
        public bool IsStopped { get; private set; }

        public bool Change(TimeSpan dueTime, TimeSpan period) => throw new NotSupportedException();

        public void Dispose() => IsStopped = true;

        public ValueTask DisposeAsync()
        {
            Dispose();
            return ValueTask.CompletedTask;
        }
    }
}
