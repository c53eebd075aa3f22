using FedICU.Compute;
using FedICU.Files;
using FedICU.Files.Adapters;
using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>
/// What FedEx-LoRA writes beside the means: the base model with the residual added, and the residual as an adapter.
/// </summary>
internal sealed unsafe class ResidualOutputs : PairOutputs
{
    private readonly PairRound _round;
    private readonly RoundPlan _plan;
    private readonly Workers _workers;
    private readonly TensorSource? _base;
    private readonly TensorSink? _baseSink, _residualSink;
    private readonly Dictionary<LoraPair, (TensorInfo Weight, bool IsTransposed)> _weights = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<LoraPair, (TensorInfo A, TensorInfo B)> _residuals = new(ReferenceEqualityComparer.Instance);
    private bool _baseBegun, _residualBegun;

    /// <summary>Opens and checks the base model.</summary>
    /// <param name="round">The round's pairs.</param>
    /// <param name="plan">The round's plan.</param>
    /// <param name="workers">The threads.</param>
    /// <param name="basePath">The base model; null if none is written.</param>
    /// <param name="baseOutput">Where the new base model is written; null if none is.</param>
    /// <param name="residualOutput">Where the residual adapter is written; null if none is.</param>
    public ResidualOutputs(
        PairRound round, RoundPlan plan, Workers workers, string? basePath, string? baseOutput, string? residualOutput)
    {
        (_round, _plan, _workers) = (round, plan, workers);
        if (basePath is not null)
        {
            _base = TensorSource.Open(basePath);
            try
            {
                _baseSink = TensorSink.To(baseOutput!, _base);
                FindWeights(_base);
            }
            catch
            {
                _base.Dispose();
                throw;
            }
        }

        if (residualOutput is null)
            return;
        bool isFile = residualOutput.EndsWith(".safetensors", StringComparison.Ordinal) || round.RoundConfig is null;
        _residualSink = isFile
            ? TensorSink.ToFile(residualOutput)
            : TensorSink.ToAdapterFolder(residualOutput, CreateConfig(round.RoundConfig!));
    }

    private IEnumerable<LoraPair> Merged => _round.Merged.Select(i => _round.All[i]);

    public override void Begin()
    {
        if (_baseSink is not null)
        {
            _baseSink.Begin(_base!.Tensors, _base.Metadata);
            _baseBegun = true;
        }

        if (_residualSink is null)
            return;
        var tensors = new List<TensorInfo>();
        foreach (LoraPair pair in Merged)
        {
            _residuals[pair] = pair.WithRank(pair.Rank * _plan.Clients.Count);
            tensors.AddRange([_residuals[pair].A, _residuals[pair].B]);
        }

        if (_round.RoundConfig is { } config)
            _residualSink.AdapterConfig = CreateConfig(config);
        _residualSink.Begin(tensors, new Dictionary<string, string> { ["format"] = "pt" });
        _residualBegun = true;
    }

    /// <summary>Writes the residual of one pair: B A, of the scaling 1.</summary>
    /// <param name="context">The pair.</param>
    /// <param name="a">The rows of A: count x in.</param>
    /// <param name="b">The columns of B as rows: count x out.</param>
    /// <param name="count">The rank.</param>
    public void Write(PairContext context, double* a, double* b, int count)
    {
        LoraPair pair = context.Pair;
        double* wideB = context.Take(count * pair.Outputs);
        MatrixTranspose.Run(b, count, pair.Outputs, wideB, context.CancellationToken);
        if (_baseSink is not null)
        {
            (TensorInfo weight, bool isTransposed) = _weights[pair];
            double* left = wideB, right = a;
            if (isTransposed)
            {
                left = context.Take(count * pair.Inputs);
                MatrixTranspose.Run(a, count, pair.Inputs, left, context.CancellationToken);
                right = b;
            }

            WeightUpdate.Write(_base!, weight, _baseSink, weight, left, right, count, context.Workers);
        }

        if (_residualSink is not null)
        {
            WriteFactor(context, _residualSink, _residuals[pair].A, a);
            WriteFactor(context, _residualSink, _residuals[pair].B, wideB);
        }
    }

    public override void Commit(CancellationToken cancellationToken)
    {
        if (_baseSink is not null)
        {
            HashSet<string> updated = [.. _weights.Values.Select(weight => weight.Weight.Name)];
            foreach (TensorInfo tensor in _base!.Tensors.Where(tensor => !updated.Contains(tensor.Name)))
                _base.CopyTo(_baseSink, tensor, tensor, cancellationToken);
            _base.RequireUnchanged();
            _baseSink.Commit();
            _baseBegun = false;
        }

        _residualSink?.Commit();
        _residualBegun = false;
    }

    public override void Dispose()
    {
        if (_baseBegun)
            _baseSink!.Abort();
        if (_residualBegun)
            _residualSink!.Abort();
        _base?.Dispose();
    }

    private static void WriteFactor(PairContext context, TensorSink sink, TensorInfo tensor, double* values)
    {
        // elements that are rounded at a time: chosen
        const int Elements = 1 << 16;
        int size = tensor.DType.BitSize / 8;
        byte[] rounded = new byte[Elements * size];
        fixed (byte* data = rounded)
        {
            for (long start = 0; start < tensor.ElementCount; start += Elements)
            {
                int count = (int)Math.Min(Elements, tensor.ElementCount - start);
                var output = new TensorPanel(data, tensor.DType);
                if (context.Backend.WeightedSum([new TensorPanel(values + start, DType.F64)], [1], 1, count, output) > 0)
                    throw context.TooLarge();
                sink.Write(tensor, start * size, rounded.AsSpan(0, count * size));
            }
        }
    }

    private void FindWeights(TensorSource model)
    {
        var weights = new BaseWeights(model, _round.RoundConfig);
        var owners = new Dictionary<string, LoraPair>(StringComparer.Ordinal);
        foreach (LoraPair pair in Merged)
        {
            _weights[pair] = weights.Find(pair);
            string name = _weights[pair].Weight.Name;
            if (!owners.TryAdd(name, pair))
            {
                throw RoundCheck.CreateRefusal(
                    $"The LoRA pairs {Sentence.Quote(owners[name].Module)} and {Sentence.Quote(pair.Module)} both change " +
                    $"the base model's {Sentence.Quote(name)}; one of them was expected.");
            }
        }
    }

    private PeftAdapterConfig CreateConfig(PeftAdapterConfig config)
    {
        long clients = _plan.Clients.Count;
        return ConfigWriter.WithRanks(
            config, [.. Merged.Select(pair => (pair.Module, pair.Rank * clients, (double)(pair.Rank * clients)))], useRsLora: false,
            savesModules: false);
    }
}
