using FedICU.Files.Adapters;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>What becomes of each tensor of a base model when an adapter is fused into it.</summary>
internal sealed class FusionPlan
{
    private static readonly string[] Heads = ["lm_head.weight", "embed_out.weight"];
    private static readonly string[] Embeddings = ["embed_tokens.weight", "wte.weight", "embed_in.weight", "word_embeddings.weight"];

    private readonly TensorSource _base, _adapter;
    private readonly Dictionary<string, (LoraPair Pair, bool IsTransposed, double Scaling)> _pairs = new(StringComparer.Ordinal);
    private readonly Dictionary<string, TensorInfo> _saved = new(StringComparer.Ordinal);
    // tensors that the base model lacks, with the embedding that they were tied to
    private readonly Dictionary<string, TensorInfo> _untied = new(StringComparer.Ordinal);

    private FusionPlan(TensorSource baseModel, TensorSource adapter) => (_base, _adapter) = (baseModel, adapter);

    /// <summary>The tensors of the output, those of the base model first.</summary>
    public IReadOnlyList<TensorInfo> Outputs { get; private set; } = [];

    public FusionReport Report => new(
        [.. _pairs.Keys], [.. _saved.Keys], [.. Outputs.Skip(_base.Tensors.Count).Select(tensor => tensor.Name)]);

    /// <summary>Checks the adapter against the base model.</summary>
    /// <exception cref="RoundRejectedException">It does not fit.</exception>
    public static FusionPlan Create(
        TensorSource baseModel, TensorSource adapter, FusionOptions options, CancellationToken cancellationToken)
    {
        if (baseModel.AdapterConfig is not null)
            throw RoundCheck.CreateRefusal($"The base model {Sentence.Quote(baseModel.Location)} is an adapter; a model was expected.");
        PeftAdapterConfig? config = adapter.AdapterConfig;
        LoraPairs pairs = LoraPairs.FindPlain(adapter, options.LoraScaling, cancellationToken);
        var plan = new FusionPlan(baseModel, adapter);
        var weights = new BaseWeights(baseModel, config);
        foreach (LoraPair pair in pairs.All)
            plan.AddPair(pair, weights, options);
        plan.AddSaved(pairs);
        plan.CreateOutputs(options);
        return plan;
    }

    /// <summary>Returns where a tensor's values come from, before a product is added.</summary>
    public (TensorSource Source, TensorInfo Tensor) SourceOf(TensorInfo written) =>
        _saved.TryGetValue(written.Name, out TensorInfo? saved) ? (_adapter, saved)
        : _untied.TryGetValue(written.Name, out TensorInfo? tied) ? (_base, tied)
        : (_base, _base.Find(written.Name)!);

    /// <summary>Returns the pair whose product is added to a tensor; null if there is none.</summary>
    public (LoraPair Pair, bool IsTransposed, double Scaling)? FindPair(TensorInfo written) =>
        _pairs.TryGetValue(written.Name, out (LoraPair, bool, double) pair) ? pair : null;

    private void AddPair(LoraPair pair, BaseWeights weights, FusionOptions options)
    {
        double scaling = pair.Scaling ?? options.LoraScaling!.Value;
        if (!double.IsFinite(scaling * options.Scale))
        {
            throw RoundCheck.CreateRefusal(
                $"The LoRA pair {Sentence.Quote(pair.Module)} has the scaling {Numbers.Invariant(scaling)}, which is too large for the " +
                $"factor {Numbers.Invariant(options.Scale)}; a smaller scale (--scale) was expected.");
        }

        string name;
        bool isTransposed = false;
        if (weights.TryFind(pair) is null && FindTied(AdapterModules.Key(pair.Module) + ".weight") is { } tied)
        {
            name = AdapterModules.Key(pair.Module) + ".weight";
            if (tied.Shape.AsMatrix() != (pair.Outputs, pair.Inputs))
            {
                throw RoundCheck.CreateRefusal(
                    $"The base model's {Sentence.Quote(tied.Name)} is {tied}; {pair.Outputs} x {pair.Inputs} was expected for " +
                    $"the LoRA pair {Sentence.Quote(pair.Module)}, whose head is tied to it.");
            }

            _untied[name] = tied;
        }
        else
        {
            (TensorInfo weight, isTransposed) = weights.Find(pair);
            name = weight.Name;
        }

        if (!_pairs.TryAdd(name, (pair, isTransposed, scaling * options.Scale)))
        {
            throw RoundCheck.CreateRefusal(
                $"The LoRA pairs {Sentence.Quote(_pairs[name].Pair.Module)} and {Sentence.Quote(pair.Module)} both change " +
                $"{Sentence.Quote(name)}; one adapter was expected.");
        }
    }

    /// <summary>Finds the tensors that the adapter holds whole.</summary>
    private void AddSaved(LoraPairs pairs)
    {
        HashSet<string> known =
            [.. pairs.All.SelectMany(pair => new[] { pair.A.Name, pair.B.Name, pair.Alpha?.Name ?? "" })];
        foreach (TensorInfo tensor in _adapter.Tensors.Where(tensor => !known.Contains(tensor.Name)))
        {
            string name = AdapterModules.Key(tensor.Name);
            TensorInfo? replaced = _base.Find(name) ?? FindTied(name);
            if (replaced is null || replaced.Shape != tensor.Shape || !tensor.DType.IsComputed || !replaced.DType.IsComputed)
            {
                throw RoundCheck.CreateRefusal(
                    $"The adapter's tensor {Sentence.Quote(tensor.Name)} of {tensor} has no place in the base model " +
                    $"{Sentence.Quote(_base.Location)}: {Sentence.Quote(name)} is " +
                    $"{replaced?.ToString() ?? "missing"} there.");
            }

            if (_base.Find(name) is null)
                _untied[name] = replaced;
            if (!_saved.TryAdd(name, tensor))
            {
                throw RoundCheck.CreateRefusal(
                    $"The adapter's tensors {Sentence.Quote(_saved[name].Name)} and {Sentence.Quote(tensor.Name)} both replace the base " +
                    $"model's {Sentence.Quote(name)}; one of them was expected.");
            }
        }
    }

    /// <summary>Finds the embedding that a head is tied to; null if the name is no head's.</summary>
    private TensorInfo? FindTied(string name) =>
        _base.Find(name) is null && Heads.Any(head => name == head || name.EndsWith("." + head, StringComparison.Ordinal))
            ? _base.Tensors.FirstOrDefault(tensor => tensor.DType.IsComputed &&
                Embeddings.Any(embedding => tensor.Name == embedding || tensor.Name.EndsWith("." + embedding, StringComparison.Ordinal)))
            : null;

    private void CreateOutputs(FusionOptions options)
    {
        IEnumerable<TensorInfo> added = _untied.Select(head => head.Value with { Name = head.Key });
        Outputs =
        [
            .. _base.Tensors.Concat(added).Select(tensor =>
                tensor.DType.IsComputed && options.OutputDType is { } dtype ? tensor with { DType = dtype } : tensor),
        ];
    }
}
