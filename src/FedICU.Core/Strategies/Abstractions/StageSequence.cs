using FedICU.Text;

namespace FedICU.Strategies.Abstractions;

/// <summary>The stages of a rule, by their kinds and each in its order.</summary>
internal sealed class StageSequence
{
    /// <summary>The kind of a merge.</summary>
    public const string MergeKind = "merge";

    // the kinds of stages in the order of a round
    private static readonly string[] Kinds = ["weighting", "transform", MergeKind, "server step", "step of LoRA pairs"];

    /// <summary>Sorts the stages.</summary>
    /// <param name="stages">The stages in their order.</param>
    /// <param name="implied">The merge if there is none among the stages.</param>
    /// <exception cref="InvalidOptionsException">
    /// The stages are in another order, two of them have one name, or there are two merges.
    /// </exception>
    public StageSequence(IReadOnlyList<Stage> stages, MergeRule implied)
    {
        CheckOrder(stages);
        Name = string.Join(',', stages.Where(stage => !stage.IsPart).Select(stage => stage.Name));
        Weightings = [.. stages.OfType<ClientWeighting>()];
        Transforms = [.. stages.OfType<UpdateTransform>()];
        Merge = stages.OfType<MergeRule>().SingleOrDefault() ?? implied;
        if (Merge.OwnWeighting is not null && Weightings.FirstOrDefault(one => !one.IsPart) is { } weighting)
        {
            throw new InvalidOptionsException([
                $"{Sentence.Quote(weighting.RuleName)} decides how the clients weigh; weighting={Merge.OwnWeighting} of " +
                $"{Sentence.Quote(Merge.RuleName)} cannot change that."]);
        }

        Steps = [.. stages.OfType<ServerStep>()];
        PairSteps = [.. stages.OfType<PairStep>()];
        bool several = Steps.Count(step => step.State.Count > 0) > 1;
        State = [.. Steps.SelectMany(step => step.State.Select(slot => (several ? $"{step.Name}.{slot.Name}" : slot.Name, slot)))];
        Scalars = [.. All.SelectMany(stage => stage.Scalars).Select(scalar => ($"#{scalar.Name}", scalar))];
    }

    /// <summary>The names of the given stages, joined by commas.</summary>
    public string Name { get; }

    public IReadOnlyList<ClientWeighting> Weightings { get; }

    public IReadOnlyList<UpdateTransform> Transforms { get; }

    public MergeRule Merge { get; }

    public IReadOnlyList<ServerStep> Steps { get; }

    public IReadOnlyList<PairStep> PairSteps { get; }

    /// <summary>The slots of state of all steps, each with the key of its tensors in a state file.</summary>
    public IReadOnlyList<(string Key, StateSlot Slot)> State { get; }

    /// <summary>The numbers that stages keep between rounds, each with its key in a state file.</summary>
    public IReadOnlyList<(string Key, StateScalar Scalar)> Scalars { get; }

    /// <summary>Whether there is a state between rounds.</summary>
    public bool KeepsState => State.Count > 0 || Scalars.Count > 0 || All.Any(stage => stage.CountsRounds);

    /// <summary>Whether nothing of a single client's data may be reported.</summary>
    public bool IsPrivate => All.Any(stage => stage.IsPrivate);

    /// <summary>All stages, the implied merge among them.</summary>
    public IEnumerable<Stage> All => [.. Weightings, .. Transforms, Merge, .. Steps, .. PairSteps];

    /// <summary>Names the kind of a stage: <c>weighting</c>, <c>merge</c>, ...</summary>
    public static string NameKind(Stage stage) => Kinds[GetPlace(stage)];

    /// <summary>
    /// Moves the parts of strategies to their places, and leaves the order of named stages, which is checked.
    /// </summary>
    public static List<Stage> PlaceParts(List<Stage> stages)
    {
        var placed = stages.Where(stage => !stage.IsPart).ToList();
        foreach (Stage part in stages.Where(stage => stage.IsPart))
        {
            // how clients weigh in a step's mean comes first: a weighting of its own name decides otherwise
            int next = part is ClientWeighting ? 0 : placed.FindIndex(stage => GetPlace(stage) > GetPlace(part)
                || GetPlace(stage) == GetPlace(part) && stages.IndexOf(stage) > stages.IndexOf(part));
            placed.Insert(next >= 0 ? next : placed.Count, part);
        }

        return placed;
    }

    private static void CheckOrder(IReadOnlyList<Stage> stages)
    {
        var errors = new List<string>();
        if (stages.Count == 0)
            errors.Add("A rule has no stages; at least one was expected.");
        // the parts of a rule that was given twice are there twice too
        IEnumerable<string> twice = stages.GroupBy(stage => stage.Name, StringComparer.Ordinal)
            .Where(same => same.Skip(1).Any()).Select(same => same.First().RuleName).Distinct();
        errors.AddRange(twice.Select(name => $"The stage {Sentence.Quote(name)} was given twice."));
        if (stages.OfType<MergeRule>().Select(merge => merge.RuleName).Distinct().ToList() is { Count: > 1 } merges)
            errors.Add($"{Sentence.Quote(merges[0])} and {Sentence.Quote(merges[1])} are both merges; a rule has one.");
        foreach (Stage stage in stages.Where(stage => GetPlace(stage) < 0))
        {
            errors.Add(
                $"The stage {Sentence.Quote(stage.RuleName)} is a {stage.GetType().Name}; " +
                "a ClientWeighting, UpdateTransform, MergeRule or ServerStep was expected.");
        }

        for (int i = 1; i < stages.Count && errors.Count == 0; i++)
        {
            (Stage before, Stage stage) = (stages[i - 1], stages[i]);
            if (GetPlace(stage) < GetPlace(before))
            {
                errors.Add(
                    $"{Sentence.Quote(stage.RuleName)} is a {NameKind(stage)} and comes after {Sentence.Quote(before.RuleName)}, " +
                    $"a {NameKind(before)}; the order is weightings, transforms, merge, server steps, steps of LoRA pairs.");
            }
        }

        CheckPairs(stages, errors);
        CheckPrivacy(stages, errors);
        CheckStatistics(stages, errors);
        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }

    /// <summary>A step's state has the global model's shapes, and a merge of pairs may write others.</summary>
    private static void CheckPairs(IReadOnlyList<Stage> stages, List<string> errors)
    {
        if (stages.OfType<PairMerge>().FirstOrDefault() is not { } merge)
            return;
        foreach (ServerStep step in stages.OfType<ServerStep>())
        {
            errors.Add(
                $"{Sentence.Quote(step.Name)} cannot follow {Sentence.Quote(merge.Name)}: it steps through single tensors, and " +
                $"{Sentence.Quote(merge.Name)} writes LoRA pairs.");
        }

        foreach (PairStep step in stages.OfType<PairStep>().Where(_ => merge.FreezesA))
        {
            errors.Add(
                $"{Sentence.Quote(step.Name)} cannot follow {Sentence.Quote(merge.Name)}: it rewrites both factors, and " +
                $"{Sentence.Quote(merge.Name)} keeps A.");
        }
    }

    /// <summary>Noise hides one client only in a sum to which each client adds no more than the clip norm.</summary>
    private static void CheckPrivacy(IReadOnlyList<Stage> stages, List<string> errors)
    {
        if (stages.FirstOrDefault(stage => stage.IsPrivate) is not { } first)
            return;
        string name = Sentence.Quote(first.RuleName);
        // how clients weigh in a step's mean has no name that a user typed: its step is refused below
        foreach (Stage stage in stages.Where(stage => GetPlace(stage) <= 2
            && stage is not ({ IsPrivate: true } or ClientWeighting { IsPart: true } or MergeRule { IsMean: true })))
        {
            errors.Add(
                $"{Sentence.Quote(stage.RuleName)} and {name} cannot be combined: noise protects a client only in a sum to which each " +
                $"adds no more than the clip norm; only server steps may follow {name}.");
        }

        foreach (Stage stage in stages.Where(stage => stage is ServerStep { SumsClients: true }))
            errors.Add($"{Sentence.Quote(stage.RuleName)} and {name} cannot be combined: its state sums the updates without a clip.");
        foreach (Stage stage in stages.TakeWhile(stage => stage is not ServerStep { IsPrivate: true }).Where(stage => stage is ServerStep))
            errors.Add($"{Sentence.Quote(stage.RuleName)} comes before the noise of {name}; after it was expected.");
    }

    /// <summary>A statistic has one value: of the updates before the transforms, or after them.</summary>
    private static void CheckStatistics(IReadOnlyList<Stage> stages, List<string> errors)
    {
        foreach (UpdateTransform transform in stages.OfType<UpdateTransform>())
        {
            HashSet<string> names = [.. transform.Statistics.SelectMany(one => one.WithThoseBefore()).Select(one => one.Name)];
            foreach (Stage stage in stages.Where(stage => stage is MergeRule or ServerStep))
            {
                if (stage.Statistics.SelectMany(one => one.WithThoseBefore()).FirstOrDefault(one => names.Contains(one.Name)) is { } both)
                {
                    errors.Add(
                        $"{Sentence.Quote(transform.RuleName)} and {Sentence.Quote(stage.RuleName)} both need the statistic " +
                        $"{Sentence.Quote(both.Name)}, before and after the transforms; one of them was expected.");
                }
            }
        }
    }

    private static int GetPlace(Stage stage) => stage switch
    {
        ClientWeighting => 0,
        UpdateTransform => 1,
        MergeRule => 2,
        ServerStep => 3,
        PairStep => 4,
        _ => -1,
    };
}
