using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>The models beside the global one that stages name: opened, and of the global model's tensors.</summary>
internal sealed class StageModels : IDisposable
{
    private readonly Dictionary<string, TensorSource> _models = new(StringComparer.Ordinal);

    /// <exception cref="FedIcuException">
    /// A model cannot be read, or has other tensors than the global model.
    /// </exception>
    public StageModels(StageSequence stages, TensorSource global)
    {
        try
        {
            foreach (Stage stage in stages.All)
            {
                foreach ((string name, string path) in stage.Models)
                    Check(stage, name, _models[name] = TensorSource.Open(path), global);
            }
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>The models by name.</summary>
    public IReadOnlyDictionary<string, TensorSource> ByName => _models;

    public void Dispose()
    {
        foreach (TensorSource model in _models.Values)
            model.Dispose();
    }

    private static void Check(Stage stage, string name, TensorSource model, TensorSource global)
    {
        foreach (TensorInfo tensor in global.Tensors.Where(tensor => tensor.DType.IsComputed))
        {
            TensorInfo? found = model.Find(tensor.Name);
            if (found is { DType.IsComputed: true } && found.Shape == tensor.Shape)
                continue;
            throw RoundCheck.CreateRefusal(
                $"{Sentence.Quote(stage.Name)}: the {name} {Sentence.Quote(model.Location)} has for tensor " +
                $"{Sentence.Quote(tensor.Name)} {found?.ToString() ?? "nothing"}; {tensor} was expected.");
        }
    }
}
