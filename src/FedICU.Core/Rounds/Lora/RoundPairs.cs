using FedICU.Files.Adapters;
using FedICU.Rounds.Checks;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Lora;

/// <summary>
/// The LoRA pairs of a round whose merge sees pairs: the ranks and scalings of the clients' pairs and of those that are
/// written, and the configuration that states them.
/// </summary>
internal sealed class RoundPairs
{
    private readonly PairMerge _merge;
    private readonly TensorSource _global;
    private readonly PeftAdapterConfig? _config;
    private readonly AdapterModules? _modules;
    private readonly Dictionary<PeftAdapterConfig, AdapterModules> _modulesOf = new(ReferenceEqualityComparer.Instance);

    private RoundPairs(PairMerge merge, TensorSource global, PeftAdapterConfig? config, IReadOnlyList<LoraPair> all)
    {
        (_merge, _global, _config, All) = (merge, global, config, all);
        _modules = config is null ? null : new AdapterModules(config);
    }

    /// <summary>The pairs of the global model, in its order.</summary>
    public IReadOnlyList<LoraPair> All { get; }

    /// <summary>The configuration of the round's adapters; null if there is none.</summary>
    public PeftAdapterConfig? Config => _config;

    /// <summary>Finds the pairs of the global model.</summary>
    /// <param name="merge">The merge.</param>
    /// <param name="global">The global model.</param>
    /// <param name="config">The configuration of the round's adapters; null if there is none.</param>
    /// <param name="cancellationToken">Ends the search.</param>
    /// <exception cref="RoundRejectedException">
    /// There are none, or a module has LoRA's names and is no plain pair.
    /// </exception>
    public static RoundPairs Find(PairMerge merge, TensorSource global, PeftAdapterConfig? config, CancellationToken cancellationToken)
    {
        LoraPairs pairs = LoraPairs.Find(global, config, comparesRanks: global.AdapterConfig is not null, cancellationToken);
        string name = Sentence.Quote(merge.Name);
        if (pairs.Others.Count > 0)
        {
            (string module, string reason) = pairs.Others[0];
            throw RoundCheck.CreateRefusal(
                $"{name} needs pairs of plain LoRA; module {Sentence.Quote(module)} of the global model is none: {reason}.");
        }

        if (pairs.All.Count == 0)
            throw RoundCheck.CreateRefusal($"{name} needs LoRA pairs; the global model has none.");
        return new RoundPairs(merge, global, config, pairs.All);
    }

    /// <summary>Returns the rank and the scaling of a client's pair. Its shapes have been checked.</summary>
    public PairForm GetForm(Participant participant, LoraPair pair)
    {
        long rank = participant.Find(pair.A.Name)!.Shape.Dimensions[0];
        AdapterModules? modules = GetModules(participant.AdapterConfig) ?? (rank == pair.Rank ? _modules : null);
        TensorInfo? alpha = pair.Alpha is null ? null : participant.Find(pair.Alpha.Name);
        // a delta of an alpha is no alpha, and a packed one holds the entries that changed
        double? scaling = alpha is not null && (participant.Kind == UpdateKind.Delta || participant.IsPacked(alpha))
            ? pair.Scaling
            : LoraPairs.ReadScaling(participant.Source, pair.Module, alpha, rank, modules);
        return new PairForm(rank, scaling ?? _merge.LoraScaling ?? double.NaN, double.NaN);
    }

    /// <summary>Returns the rank that a client's configuration states; null if it cannot be read.</summary>
    public int? GetStatedRank(PeftAdapterConfig config, LoraPair pair) => GetModules(config)!.Rank(pair.Module);

    /// <summary>Decides the rank and the scaling that are written.</summary>
    /// <param name="pair">The global model's pair.</param>
    /// <param name="ranks">The ranks of the clients that take part.</param>
    public PairForm GetWritten(LoraPair pair, IReadOnlyList<long> ranks) => Describe(pair, _merge.GetRank(pair, ranks), isMerged: true);

    /// <summary>Returns the global model's own rank and scaling, of a pair that is kept.</summary>
    public PairForm GetKept(LoraPair pair) => Describe(pair, pair.Rank, isMerged: false);

    /// <summary>Refuses a rank that the factors cannot have.</summary>
    public void Require(LoraPair pair, long rank, string owner)
    {
        long most = Math.Min(pair.Inputs, pair.Outputs);
        if (rank < 1 || rank > most && !_merge.MayExceedSides)
        {
            throw RoundCheck.CreateRefusal(
                $"{Sentence.Quote(_merge.Name)}: {owner} of {Sentence.Quote(pair.Module)} is {rank}; " +
                $"a rank from 1 to {most} was expected, as the weight has {pair.Outputs} outputs and {pair.Inputs} inputs.");
        }
    }

    /// <summary>
    /// Creates the configuration of the output; null if the global model's stays, or if there is none.
    /// </summary>
    public PeftAdapterConfig? CreateConfig(IReadOnlyList<PairForm> written)
    {
        if (_config is null)
            return null;
        bool changes = false, useRsLora = _config.UseRsLora && !_merge.WritesUnitScaling;
        var modules = new List<(string, long, double)>(All.Count);
        for (int i = 0; i < All.Count; i++)
        {
            string module = All[i].Module;
            changes |= written[i].Rank != _modules!.Rank(module) || !written[i].Alpha.Equals(_modules.Alpha(module) ?? double.NaN);
            modules.Add((module, written[i].Rank, written[i].Alpha));
        }

        changes |= useRsLora != _config.UseRsLora;
        int unknown = written.ToList().FindIndex(form =>
            changes && !double.IsFinite(form.Alpha) || _merge.NeedsScaling && !double.IsFinite(form.Scaling));
        if (unknown >= 0)
        {
            throw RoundCheck.CreateRefusal(
                $"The round's adapter_config.json states no alpha of {Sentence.Quote(All[unknown].Module)} that can be read; " +
                "an alpha_pattern of valid patterns was expected.");
        }

        return changes ? ConfigWriter.WithRanks(_config, modules, useRsLora) : null;
    }

    private PairForm Describe(LoraPair pair, long rank, bool isMerged)
    {
        double? alpha = pair.Alpha is null ? _modules?.Alpha(pair.Module) : LoraAlphas.Read(_global, pair.Alpha);
        if (alpha is not { } before)
            return new PairForm(rank, _merge.LoraScaling ?? double.NaN, double.NaN);
        bool useRsLora = pair.Alpha is null && _config!.UseRsLora;
        if (!_merge.WritesUnitScaling)
            return new PairForm(rank, AdapterModules.Scaling(before, rank, useRsLora), before);
        // the result is written without rsLoRA
        return isMerged
            ? new PairForm(rank, 1, rank)
            : new PairForm(rank, AdapterModules.Scaling(before, rank, useRsLora), AdapterModules.Scaling(before, rank, useRsLora) * rank);
    }

    private AdapterModules? GetModules(PeftAdapterConfig? config)
    {
        if (config is null)
            return null;
        if (!_modulesOf.TryGetValue(config, out AdapterModules? modules))
            _modulesOf.Add(config, modules = new AdapterModules(config));
        return modules;
    }
}
