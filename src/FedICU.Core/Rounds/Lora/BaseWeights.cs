using FedICU.Files.Adapters;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>Finds the weight of a base model that a LoRA pair changes.</summary>
internal sealed class BaseWeights
{
    private readonly TensorSource _model;
    private readonly bool _isTransposed;
    // kohya's files have underscores in place of dots, after a prefix
    private readonly Lazy<ILookup<string, TensorInfo>> _byUnderscores;

    /// <param name="model">The base model.</param>
    /// <param name="config">The adapter's configuration; null if it has none.</param>
    /// <exception cref="RoundRejectedException">The adapter's products do not belong into weights.</exception>
    public BaseWeights(TensorSource model, PeftAdapterConfig? config)
    {
        if (config?.WhyNotFusible() is { } reason)
        {
            throw RoundCheck.CreateRefusal(
                $"The adapter cannot be added to the base model's weights: its adapter_config.json has {reason}; plain LoRA was expected.");
        }

        (_model, _isTransposed) = (model, config?.FanInFanOut == true);
        _byUnderscores = new(() => model.Tensors.ToLookup(tensor => tensor.Name.Replace('.', '_'), StringComparer.Ordinal));
    }

    /// <summary>Finds a pair's weight and whether it holds the transpose of B A.</summary>
    /// <exception cref="RoundRejectedException">The base model has no such weight.</exception>
    public (TensorInfo Weight, bool IsTransposed) Find(LoraPair pair)
    {
        TensorInfo? weight = TryFind(pair);
        if (weight is null)
        {
            throw RoundCheck.CreateRefusal(
                $"The base model {Sentence.Quote(_model.Location)} has no weight for the LoRA pair {Sentence.Quote(pair.Module)}; " +
                $"{Sentence.Quote(AdapterModules.Key(pair.Module) + ".weight")} was expected.");
        }

        (long rows, long columns) = weight.Shape.AsMatrix();
        bool fits = rows == pair.Outputs && columns == pair.Inputs, fitsTransposed = rows == pair.Inputs && columns == pair.Outputs;
        bool prefersTransposed = _isTransposed || pair.A.Name.Contains("lora_embedding_", StringComparison.Ordinal);
        if (!weight.DType.IsComputed || !fits && !fitsTransposed)
        {
            throw RoundCheck.CreateRefusal(
                $"The base model's {Sentence.Quote(weight.Name)} is {weight}; a float weight of {pair.Outputs} outputs and {pair.Inputs} " +
                $"inputs was expected for the LoRA pair {Sentence.Quote(pair.Module)}.");
        }

        return (weight, fitsTransposed && (prefersTransposed || !fits));
    }

    /// <summary>Finds a pair's weight; null if the base model has none.</summary>
    /// <exception cref="RoundRejectedException">It has two.</exception>
    public TensorInfo? TryFind(LoraPair pair)
    {
        string key = AdapterModules.Key(pair.Module);
        if (_model.Find(key + ".weight") is { } named)
            return named;
        if (!pair.A.Name.Contains("lora_down", StringComparison.Ordinal))
            return null;
        foreach (string prefix in (string[])["lora_unet_", "lora_te_", "lora_te1_", "lora_te2_", "lora_transformer_", ""])
        {
            if (!key.StartsWith(prefix, StringComparison.Ordinal))
                continue;
            TensorInfo[] weights = [.. _byUnderscores.Value[key[prefix.Length..].Replace('.', '_') + "_weight"]];
            if (weights.Length > 1)
            {
                throw RoundCheck.CreateRefusal(
                    $"The LoRA pair {Sentence.Quote(pair.Module)} may change the base model's {Sentence.Quote(weights[0].Name)} or " +
                    $"{Sentence.Quote(weights[1].Name)}; one weight of its name was expected.");
            }

            if (weights.Length == 1)
                return weights[0];
        }

        return null;
    }
}
