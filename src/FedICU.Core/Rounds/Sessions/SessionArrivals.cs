using FedICU.Text;

namespace FedICU.Rounds.Sessions;

/// <summary>The updates in a session, and the rule that their weights keep. Not thread-safe.</summary>
/// <param name="options">The session's round options.</param>
/// <param name="requireWeights">Whether each client must state a weight.</param>
/// <param name="lastNumber">The number of the last update that arrived, retracted ones included.</param>
internal sealed class SessionArrivals(RoundOptions options, bool requireWeights, long lastNumber)
{
    // the largest sum of weights: derived, any smaller sum is finite in every order of the clients
    private const double MaximumSum = double.MaxValue / 2;

    private readonly SortedDictionary<string, SessionArrival> _byId = new(StringComparer.Ordinal);
    private int _weighted;

    /// <summary>The updates in the ordinal order of their clients' ids.</summary>
    public IEnumerable<SessionArrival> All => _byId.Values;

    /// <summary>The number of updates.</summary>
    public int Count => _byId.Count;

    public SessionArrival? Find(string id) => _byId.GetValueOrDefault(id);

    /// <summary>Creates the next arrival and adds it.</summary>
    public void AddNext(ClientUpdate update, string digest) => Add(new SessionArrival(++lastNumber, update) { Digest = digest });

    public void Add(SessionArrival arrival)
    {
        _byId.Add(arrival.Update.Id, arrival);
        _weighted += arrival.Update.Weight is null ? 0 : 1;
    }

    public void Remove(SessionArrival arrival)
    {
        _byId.Remove(arrival.Update.Id);
        _weighted -= arrival.Update.Weight is null ? 0 : 1;
    }

    public void Clear()
    {
        _byId.Clear();
        _weighted = 0;
    }

    /// <summary>
    /// Refuses a weight that would end the round under any policy: one that is stated if the others are not, missing if
    /// the others are stated, or too large for their sum. The check of the update itself refuses weights that are
    /// negative, not finite or above MaxWeight.
    /// </summary>
    /// <param name="name">The client's name in sentences.</param>
    /// <param name="id">The client's id.</param>
    /// <param name="stated">The weight that the client states; null if it states none.</param>
    public void CheckWeight(string name, string id, double? stated)
    {
        const string Examples = MetadataKeys.Examples;
        // the round drops the smaller group of clients; the first client to arrive must not decide for all
        bool roundDecides = options.OnWeight == FaultPolicy.DropClient;
        if (stated is not { } weight)
        {
            if (requireWeights)
                throw CreateRefusal($"{name} states no {Examples}; the session requires a weight of every client.");
            if (_weighted > 0 && !roundDecides)
                throw CreateRefusal($"{name} states no {Examples}, but client {QuoteFirst(weighted: true)} does; a weight was expected.");
            return;
        }

        string has = $"{name} has the weight {Numbers.Invariant(weight)}";
        if (!requireWeights && _weighted == 0 && _byId.Count > 0 && !roundDecides)
        {
            throw CreateRefusal(
                $"{has}, but client {QuoteFirst(weighted: false)} states none; an update without {Examples} was expected.");
        }

        // the sum can come near the limit only with a MaxWeight far above the default
        if (options.MaxWeight < MaximumSum / (_byId.Count + 1))
            return;
        double sum = _byId.Values.Sum(arrival => arrival.Update.Weight ?? 0) + weight;
        if (!(sum <= MaximumSum))
        {
            throw CreateRefusal(
                $"{has}; the sum of the session's weights would be {Numbers.Invariant(sum)}, above {Numbers.Invariant(MaximumSum)}.");
        }

        RoundRejectedException CreateRefusal(string sentence) => new(RoundFault.Weight, sentence, id);

        string QuoteFirst(bool weighted) => Sentence.Quote(
            _byId.Values.Where(arrival => arrival.Update.Weight is not null == weighted).MinBy(arrival => arrival.Number)!.Update.Id);
    }
}
