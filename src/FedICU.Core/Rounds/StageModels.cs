using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>The models beside the global one that stages name: opened, and of the global model's tensors.</summary>
internal sealed class StageModels : IDisposable
{
    private readonly Dictionary<string, TensorSource> _models = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Stage> _stages = new(StringComparer.Ordinal);

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
                {
                    (_models[name], _stages[name]) = (TensorSource.Open(path), stage);
                    if (ExpectedTensor.DescribeFault(_models[name], global, "has") is { } fault)
                        throw RoundCheck.CreateRefusal($"{Describe(name)} {fault}.");
                }
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

    /// <summary>Names a model, the stage that reads it and its place: <c>'fltrust': the root 'R'</c>.</summary>
    public string Describe(string name) =>
        $"{Sentence.Quote(_stages[name].RuleName)}: the {name} {Sentence.Quote(_models[name].Location)}";

    public void Dispose()
    {
        foreach (TensorSource model in _models.Values)
            model.Dispose();
    }
}
