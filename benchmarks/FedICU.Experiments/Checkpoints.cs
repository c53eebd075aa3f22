namespace FedICU.Experiments;

/// <summary>Saves a run's state after each round in a folder: the adapters and the clients' momenta.</summary>
internal sealed class Checkpoints(string folder)
{
    private const string Momentum = "momentum-";

    public bool Has(int round) => Directory.Exists(Of(round));

    /// <summary>Loads the adapters in their order and the momenta by client. The caller disposes them.</summary>
    public (List<Adapter> Adapters, Dictionary<int, MemorySink> Momenta) Load(int round)
    {
        var adapters = new SortedDictionary<int, Adapter>();
        var momenta = new Dictionary<int, MemorySink>();
        foreach (string file in Directory.GetFiles(Of(round)))
        {
            string name = Path.GetFileNameWithoutExtension(file);
            if (!name.StartsWith(Momentum, StringComparison.Ordinal))
            {
                adapters.Add(int.Parse(name), Adapter.Load(file));
                continue;
            }

            using TensorSource source = TensorSource.Open(file);
            source.SaveTo(momenta[int.Parse(name[Momentum.Length..])] = new MemorySink());
        }

        return ([.. adapters.Values], momenta);
    }

    /// <summary>
    /// Saves a round's state. The previous round's state stays, because this round's figures are not written yet.
    /// </summary>
    public void Save(int round, IReadOnlyList<Adapter> adapters, IReadOnlyDictionary<int, MemorySink> momenta)
    {
        string state = Of(round), unfinished = state + ".tmp";
        Remove(unfinished);
        Directory.CreateDirectory(unfinished);
        foreach ((int i, Adapter adapter) in adapters.Index())
            adapter.Save(Path.Combine(unfinished, $"{i}.safetensors"));
        foreach ((int k, MemorySink momentum) in momenta)
            momentum.Model.SaveTo(TensorSink.ToFile(Path.Combine(unfinished, $"{Momentum}{k}.safetensors")));
        Remove(state);
        Directory.Move(unfinished, state);
        Remove(Of(round - 2));

        static void Remove(string path)
        {
            if (Directory.Exists(path))
                Directory.Delete(path, recursive: true);
        }
    }

    private string Of(int round) => Path.Combine(folder, $"{round}");
}
