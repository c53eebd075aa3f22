using System.Globalization;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>The clients of a command line: those of <c>--client</c>, then those of <c>--clients</c>.</summary>
internal sealed class ClientList
{
    private readonly int _typed;
    private readonly string? _listed;
    private readonly List<ClientEntry> _clients = [];
    private readonly HashSet<string> _ids = new(StringComparer.Ordinal);
    private readonly Dictionary<string, ClientEntry> _places = new(StringComparer.Ordinal);
    private readonly Dictionary<string, string> _folders = new(StringComparer.Ordinal);

    /// <summary>Reads the values of <c>--client</c> and <c>--clients</c>.</summary>
    /// <param name="clients">The values of <c>--client</c>.</param>
    /// <param name="listed">The folder or JSON file of <c>--clients</c>; null if it was not given.</param>
    /// <param name="global">The global model, which a folder of clients must not contain.</param>
    /// <exception cref="RefusedException">A client was given twice, or the folder or file is refused.</exception>
    public ClientList(string[] clients, string? listed, string global)
    {
        (_typed, _listed) = (clients.Length, listed);
        foreach (string text in clients)
            Add(Split(text));
        if (listed is null)
            return;
        foreach (ClientEntry client in ReadListed(Paths.Read("--clients", listed)))
            Add(client);
        if (Directory.Exists(listed))
            RefuseGlobal(global);
    }

    /// <summary>Takes clients that were read elsewhere.</summary>
    /// <exception cref="RefusedException">A client was given twice.</exception>
    public ClientList(IEnumerable<ClientEntry> clients)
    {
        foreach (ClientEntry client in clients)
            Add(client);
    }

    /// <summary>Gets the clients.</summary>
    public IReadOnlyList<ClientEntry> Entries => _clients;

    /// <summary>Gets the path of each update.</summary>
    public IEnumerable<string> UpdatePaths => _clients.Select(client => client.Path);

    /// <summary>
    /// Gets the files that must not be overwritten, each with the words that an error message uses for it.
    /// </summary>
    public IEnumerable<(string What, string? Path)> Places
    {
        get
        {
            if (!Directory.Exists(_listed))
                yield return ("the list of the clients", _listed);
            foreach (ClientEntry client in _clients)
            {
                yield return ($"the update of client '{client.Id}'", client.Path);
                if (client.Statements.Control is { } control)
                    yield return ($"the control of client '{client.Id}'", control);
            }
        }
    }

    /// <summary>Adds the updates to a round, which opens them when it checks its inputs.</summary>
    /// <param name="round">The round.</param>
    /// <param name="kind">The kind of updates for which the list states none; null: from their metadata.</param>
    public void AddTo(AggregationRound round, UpdateKind? kind)
    {
        foreach (ClientEntry client in _clients)
        {
            round.Add(ClientUpdate.FromFile(
                client.Id, client.Path, client.Weight, kind: client.Kind ?? kind, baseDigest: client.BaseDigest,
                statements: client.Statements));
        }
    }

    /// <summary>Gives the clients of <c>--client</c> the weights of <c>--weights</c>.</summary>
    /// <exception cref="RefusedException">
    /// A weight is not a number, or there is not one weight for each client.
    /// </exception>
    public void TakeWeights(string text, double maxWeight)
    {
        string[] parts = text.Split(',');
        if (parts.Length != _typed)
        {
            throw new RefusedException(
                $"--weights '{text}' has {Text.Count(parts.Length, "number")} for {Text.Count(_typed, "client")} of --client; " +
                "one for each was expected.");
        }

        for (int i = 0; i < parts.Length; i++)
        {
            bool isNumber = double.TryParse(parts[i], NumberStyles.Float, CultureInfo.InvariantCulture, out double weight);
            string given = $"--weights '{text}' gives client '{_clients[i].Id}' the weight '{parts[i]}'";
            if (!isNumber || !(weight >= 0 && double.IsFinite(weight)))
                throw new RefusedException($"{given}; a finite number of at least 0 was expected.");
            if (weight > maxWeight)
                throw new RefusedException($"{given}, above max-weight, {maxWeight.ToString(CultureInfo.InvariantCulture)}.");
            _clients[i] = _clients[i] with { Weight = weight };
        }
    }

    /// <summary>
    /// Refuses a new file in the folder of the clients, which the next round would take for a client.
    /// </summary>
    public void RefuseOutput(string option, string? output)
    {
        if (output is null || !Directory.Exists(_listed))
            return;
        string folder = FilePlace.Real(_listed), place = FilePlace.Entry(output);
        if (FilePlace.Real(output) == folder || Path.GetDirectoryName(place) == folder)
        {
            throw new RefusedException(
                $"{option} '{output}' would be a client of the next round in --clients '{_listed}'; another folder was expected.");
        }
    }

    private static List<ClientEntry> ReadListed(string path)
    {
        if (!Directory.Exists(path) && !path.EndsWith(".json", StringComparison.OrdinalIgnoreCase))
        {
            throw new RefusedException(
                $"--clients '{path}' {(File.Exists(path) ? "is another file" : "does not exist")}; a folder or a .json file was expected.");
        }

        try
        {
            return Directory.Exists(path) ? ClientFolder.List(path) : new ClientListFile(path).Read();
        }
        catch (InvalidModelException e)
        {
            throw new RefusedException($"--clients: {e.Message}");
        }
    }

    private void Add(ClientEntry client)
    {
        if (!_ids.Add(client.Id))
            throw new RefusedException($"The client '{client.Id}' was given twice; names must be unique.");
        string place = FilePlace.Real(client.Path, _folders);
        if (!_places.TryAdd(place, client))
        {
            ClientEntry first = _places[place];
            throw new RefusedException(
                $"The clients '{first.Id}' and '{client.Id}' are the same path: '{first.Path}'" +
                $"{(first.Path == client.Path ? "" : $" and '{client.Path}'")}.");
        }

        _clients.Add(client);
    }

    private void RefuseGlobal(string global)
    {
        foreach (string place in Paths.Files(global))
        {
            if (_places.TryGetValue(place, out ClientEntry? client) && _clients.IndexOf(client) >= _typed)
            {
                throw new RefusedException(
                    $"The client '{client.Id}' of --clients '{_listed}' is the global model; another folder was expected.");
            }
        }
    }

    // a name contains no path separator: 'runs/lr=0.1/a.safetensors' is a path
    private static ClientEntry Split(string text)
    {
        int at = text.IndexOf('=', StringComparison.Ordinal);
        bool named = at >= 0 && text.AsSpan(0, at).IndexOfAny('/', '\\') < 0;
        (string id, string path) = named ? (text[..at], text[(at + 1)..]) : (text, text);
        if (id.Length == 0 || path.Length == 0)
            throw new RefusedException($"--client is '{text}'; a path or NAME=PATH was expected.");
        return new ClientEntry(id, path);
    }
}
