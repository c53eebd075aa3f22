using System.Globalization;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>The clients of a command line: names, paths, weights and the kind of their updates.</summary>
internal sealed class ClientList
{
    private readonly UpdateKind? _kind;
    private readonly List<(string Id, string Path, double? Weight)> _clients = [];

    /// <summary>Reads the values of <c>--client</c>, <c>--weights</c> and <c>--kind</c>.</summary>
    /// <exception cref="RefusedException">
    /// A client was given twice, a weight is not a number, or there is not one weight for each client.
    /// </exception>
    public ClientList(string[] clients, string? weights, UpdateKind? kind, double maxWeight)
    {
        _kind = kind;
        var ids = new HashSet<string>(StringComparer.Ordinal);
        var paths = new Dictionary<string, (string Id, string Path)>(StringComparer.Ordinal);
        foreach (string text in clients)
        {
            (string id, string path) = Split(text);
            if (!ids.Add(id))
                throw new RefusedException($"The client '{id}' was given twice; names must be unique.");
            if (!paths.TryAdd(FilePlace.Real(path), (id, path)))
            {
                (string first, string other) = paths[FilePlace.Real(path)];
                throw new RefusedException(
                    $"The clients '{first}' and '{id}' are the same path: '{other}'{(other == path ? "" : $" and '{path}'")}.");
            }

            _clients.Add((id, path, null));
        }

        if (weights is not null)
            TakeWeights(weights, maxWeight);
    }

    /// <summary>Adds the updates to a round, which opens them when it checks its inputs.</summary>
    public void AddTo(AggregationRound round)
    {
        foreach ((string id, string path, double? weight) in _clients)
            round.Add(ClientUpdate.FromFile(id, path, weight, kind: _kind));
    }

    /// <summary>Gets the path of each update and the words that an error message uses for it.</summary>
    public IEnumerable<(string What, string? Path)> Places =>
        _clients.Select(client => ($"the update of client '{client.Id}'", (string?)client.Path));

    /// <summary>Gets the path in a value of <c>--client</c>.</summary>
    public static string PathOf(string text) => Split(text).Path;

    // a name contains no path separator: 'runs/lr=0.1/a.safetensors' is a path
    private static (string Id, string Path) Split(string text)
    {
        int at = text.IndexOf('=', StringComparison.Ordinal);
        bool named = at >= 0 && text.AsSpan(0, at).IndexOfAny('/', '\\') < 0;
        (string id, string path) = named ? (text[..at], text[(at + 1)..]) : (text, text);
        if (id.Length == 0 || path.Length == 0)
            throw new RefusedException($"--client is '{text}'; a path or NAME=PATH was expected.");
        return (id, path);
    }

    private void TakeWeights(string text, double maxWeight)
    {
        string[] parts = text.Split(',');
        if (parts.Length != _clients.Count)
        {
            throw new RefusedException(
                $"--weights '{text}' has {Text.Count(parts.Length, "number")} for {Text.Count(_clients.Count, "client")}; " +
                "one for each was expected.");
        }

        for (int i = 0; i < parts.Length; i++)
        {
            (string id, string path, _) = _clients[i];
            bool isNumber = double.TryParse(parts[i], NumberStyles.Float, CultureInfo.InvariantCulture, out double weight);
            string given = $"--weights '{text}' gives client '{id}' the weight '{parts[i]}'";
            if (!isNumber || !(weight >= 0 && double.IsFinite(weight)))
                throw new RefusedException($"{given}; a finite number of at least 0 was expected.");
            if (weight > maxWeight)
                throw new RefusedException($"{given}, above max-weight, {maxWeight.ToString(CultureInfo.InvariantCulture)}.");
            _clients[i] = (id, path, weight);
        }
    }
}
