using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Rounds.Lora;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>Checks the clients' LoRA pairs for a merge that sees pairs.</summary>
internal sealed class PairCheck(RoundCheck check, AggregationRound round, StageSequence stages, PairMerge merge)
{
    private readonly RoundOptions _options = round.Options;
    private readonly Dictionary<string, LoraPair> _pairOf = new(StringComparer.Ordinal);

    /// <summary>The pairs of the global model, once they were found.</summary>
    public RoundPairs Pairs { get; private set; } = null!;

    private FaultPolicy ConfigPolicyOfClients =>
        _options.OnConfig == ConfigPolicy.DropClient ? FaultPolicy.DropClient : FaultPolicy.Reject;

    /// <summary>Finds the global model's pairs.</summary>
    public void FindPairs(PeftAdapterConfig? config, CancellationToken cancellationToken)
    {
        Pairs = RoundPairs.Find(merge, round.Global, config, cancellationToken);
        foreach (LoraPair pair in Pairs.All)
            (_pairOf[pair.A.Name], _pairOf[pair.B.Name]) = (pair, pair);
    }

    /// <summary>
    /// Whether a client's tensor is a factor that may have another rank than the global model's.
    /// </summary>
    public bool MayHaveAnotherRank(TensorInfo tensor) => merge.MixesRanks && _pairOf.ContainsKey(tensor.Name);

    /// <summary>Describes why a client's factor does not fit; null if it does.</summary>
    public string? DescribeShape(Participant participant, TensorInfo expected, TensorInfo found)
    {
        LoraPair pair = _pairOf[expected.Name];
        if (found.Shape == expected.Shape)
            return null; // if the factors do not fit each other, the other one has a sentence of its own
        if (participant.Find(pair.A.Name) is not { } a || participant.Find(pair.B.Name) is not { } b)
            return null; // a missing factor has a sentence of its own
        if (pair.Matches(a.Shape, b.Shape))
        {
            return participant.Kind == UpdateKind.Full ? null
                : $"has the shape {found.Shape} in a {participant.Kind.Text()} update; {expected.Shape} was expected, " +
                    "as only a full update may have another rank";
        }

        string any = (found.Shape.Rank == expected.Shape.Rank ? expected.Shape.ToString() : expected.ToString());
        return $"has the shape {found.Shape}; {any} was expected, with any rank from 1 that both factors share " +
            $"(A has {a.Shape}, B has {b.Shape})";
    }

    /// <summary>Checks the ranks and scalings of a client whose shapes fit.</summary>
    public void Check(Participant participant)
    {
        var forms = new PairForm[Pairs.All.Count];
        for (int i = 0; i < forms.Length; i++)
        {
            LoraPair pair = Pairs.All[i];
            if (IsDropped(participant, pair))
            {
                forms[i] = new PairForm(pair.Rank, pair.Scaling ?? 1, double.NaN);
                continue;
            }

            forms[i] = Pairs.GetForm(participant, pair);
            if (DescribeFault(participant, pair, forms[i]) is { } fault)
            {
                check.ApplyPolicy(
                    ConfigPolicyOfClients, RoundFault.Config, participant, pair.A.Name, $"{participant.NameWithFile}: {fault}.");
                return;
            }
        }

        participant.PairForms = forms;
        if (merge.FreezesA && FindChangedA(participant) is { } changed)
        {
            check.ApplyPolicy(_options.OnStatement, RoundFault.Statement, participant, changed.A.Name,
                $"{participant.NameWithFile}: tensor {Sentence.Quote(changed.A.Name)} differs from the global model's; " +
                $"{Sentence.Quote(merge.Name)} expects the same A, bit for bit.");
        }
    }

    /// <summary>
    /// Refuses stages that compare or change whole models if clients have other ranks than the global model.
    /// </summary>
    public void CheckStages()
    {
        Stage? whole = stages.Weightings.FirstOrDefault(stage => stage.Statistics.Count > 0) ??
            (Stage?)(stages.Transforms is [var first, ..] ? first : null);
        if (whole is null)
            return;
        foreach (Participant participant in check.Included)
        {
            for (int i = 0; i < participant.PairForms.Length; i++)
            {
                LoraPair pair = Pairs.All[i];
                if (participant.PairForms[i].Rank != pair.Rank)
                    throw CreateRankRefusal(whole, merge, participant, pair, participant.PairForms[i].Rank);
            }
        }
    }

    /// <summary>Creates the exception of a stage that needs the global model's ranks.</summary>
    public static RoundRejectedException CreateRankRefusal(
        Stage stage, PairMerge merge, Participant participant, LoraPair pair, long rank) => RoundCheck.CreateRefusal(
            $"{Sentence.Quote(stage.Name)} before {Sentence.Quote(merge.Name)} needs equal ranks; {participant.NameWithFile} has rank " +
            $"{rank} in {Sentence.Quote(pair.Module)}, the global model {pair.Rank}.",
            participant);

    private string? DescribeFault(Participant participant, LoraPair pair, PairForm form)
    {
        long most = Math.Min(pair.Inputs, pair.Outputs);
        if (form.Rank > most && !merge.TakesAnyRank)
        {
            return $"its rank {form.Rank} in {Sentence.Quote(pair.Module)} is above the weight's " +
                $"{(most == pair.Inputs ? "inputs" : "outputs")}; at most {most} was expected";
        }

        if (participant.AdapterConfig is { IsLora: true } config)
        {
            int? stated = Pairs.GetStatedRank(config, pair);
            if (stated != form.Rank)
                return $"module {Sentence.Quote(pair.Module)} has rank {form.Rank}, but {stated} in its adapter_config.json";
        }

        if (merge.NeedsScaling && !double.IsFinite(form.Scaling))
        {
            return $"no configuration or alpha states the scaling of {Sentence.Quote(pair.Module)} of rank {form.Rank}; " +
                "an adapter folder or lora-scaling was expected";
        }

        return null;
    }

    private static bool HasSameBits(double one, double two) => BitConverter.DoubleToInt64Bits(one) == BitConverter.DoubleToInt64Bits(two);

    private unsafe LoraPair? FindChangedA(Participant participant)
    {
        using var scratch = new Scratch();
        return Pairs.All.FirstOrDefault(pair => !IsDropped(participant, pair) && !HasGlobalA(participant, pair, scratch));
    }

    /// <summary>Whether a policy keeps the global model's pair, as far as this client decides.</summary>
    private bool IsDropped(Participant participant, LoraPair pair) =>
        check.IsDropped(participant, pair.A) || check.IsDropped(participant, pair.B) ||
        pair.Alpha is not null && check.IsDropped(participant, pair.Alpha);

    private unsafe bool HasGlobalA(Participant participant, LoraPair pair, Scratch scratch)
    {
        // elements that are compared at a time: chosen
        const int Elements = 1 << 14;
        using var global = new DensePanelReader(round.Global, pair.A);
        UpdateForm form = participant.Kind == UpdateKind.Delta ? UpdateForm.Delta : UpdateForm.Parameters;
        using PanelReader own = participant.OpenReader(pair.A, int.MaxValue, form, global, TensorPasses.Cpu, null, onDevice: false);
        for (long start = 0; start < pair.A.ElementCount; start += Elements)
        {
            scratch.Reset();
            int count = (int)Math.Min(Elements, pair.A.ElementCount - start);
            TensorPanel expected = global.Read(start, count, scratch), found = own.Read(start, count, scratch);
            for (int i = 0; i < count; i++)
            {
                double value = Rounding.Read(found.Data, found.DType, i);
                bool isSame = form == UpdateForm.Delta
                    ? value == 0
                    : HasSameBits(value, Rounding.Read(expected.Data, expected.DType, i));
                if (!isSame)
                    return false;
            }
        }

        return true;
    }
}
