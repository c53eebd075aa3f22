using System.Collections.Concurrent;

namespace FedICU.Experiments;

/// <summary>
/// The part of the first round that all methods of a scenario and a seed have in common, computed once: the figures at
/// the start, and the adapters of clients whose training no method changes.
/// </summary>
internal sealed class FirstRound : IDisposable
{
    public ConcurrentDictionary<(int Client, int Rank), Adapter> Trained { get; } = [];

    /// <summary>The figures before the first round.</summary>
    public double[]? Bits { get; set; }

    public void Dispose()
    {
        foreach (Adapter adapter in Trained.Values)
            adapter.Dispose();
    }
}
