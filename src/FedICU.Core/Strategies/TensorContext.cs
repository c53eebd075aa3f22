using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Safetensors;

namespace FedICU;

/// <summary>A client that takes part in the round.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Weight">Its weight, greater than zero.</param>
/// <param name="Share">Its weight over the sum of all weights: p_k.</param>
public sealed record RoundClient(string Id, double Weight, double Share);

/// <summary>In which form a strategy looks at the clients' tensors, whatever form they were sent in.</summary>
public enum UpdateForm
{
    /// <summary>The parameters y_k.</summary>
    Parameters,
    /// <summary>The update d_k = y_k - x, in float64.</summary>
    Delta,
}

/// <summary>
/// One tensor of a round, as a strategy sees it: the clients' checked inputs, and fused verbs over them that end in the output. Exactly one verb that
/// writes the output is called for each tensor.
/// </summary>
public unsafe class TensorContext
{
    // beyond this many inputs their pairs cost more than further looks at the inputs. Up to this many values a further look finds them in the cache; then all
    // pairs are worth it only for narrow matrices with so many values for each sum, such as LoRA's B, folded to rows of a line of the cache: the sums of all pairs
    // stay in registers while an input's memory is gone through as it lies
    private const int GramInputs = 12, NarrowColumns = 512, NarrowFold = 16;
    internal const long GramValues = 1 << 24, GramShare = 6;

    private readonly RoundState _round;
    private readonly Dictionary<UpdateForm, PanelReader[]> _readers = [];
    private readonly ProgressMeter.TensorProgress? _progress;
    private DensePanelReader? _global;
    private bool _written;

    private protected TensorContext(RoundState round, TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress)
    {
        (_round, Info, Output, _progress) = (round, info, output, progress);
        Weights = new double?[round.Clients.Count];
        Scores = new double?[round.Clients.Count];
    }

    /// <summary>The tensor's name, its type in the global model, its shape.</summary>
    public TensorInfo Info { get; }

    /// <summary>The tensor in the output: the same name and shape, possibly another type.</summary>
    public TensorInfo Output { get; }

    /// <summary>The clients in ordinal order of their ids; inputs of the verbs are numbered by it.</summary>
    public IReadOnlyList<RoundClient> Clients => _round.Clients;

    internal double?[] Weights { get; }

    internal double?[] Scores { get; }

    internal Workers Workers => _round.Workers;

    /// <summary>Room for a value of each input and group.</summary>
    internal GroupBuffer NewGroups(int inputs, long groups, bool clear = true) => new(Workers.Memory, inputs, groups, clear);

    /// <summary>Puts the weight (and score) by which a client's part was combined into the report.</summary>
    /// <param name="client">The client's number in <see cref="Clients"/>.</param>
    /// <param name="weight">w_k.</param>
    /// <param name="score">s_k, what the weight was made of.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no client of that number.</exception>
    public void ReportWeight(int client, double weight, double? score = null)
    {
        if (client < 0 || client >= Clients.Count)
            throw new ArgumentOutOfRangeException(nameof(client), client, $"There is no client of this number; one from 0 to {Clients.Count - 1} was expected.");
        (Weights[client], Scores[client]) = (weight, score);
    }

    /// <summary>output = round(sum_k n_k y_k / sum_k n_k): the mean by the clients' weights (McMahan et al. 2017).</summary>
    public void WeightedMean()
    {
        double[] weights = [.. Clients.Select(client => client.Weight)];
        for (int k = 0; k < weights.Length; k++)
            ReportWeight(k, Clients[k].Share);
        WeightedSum(weights, weights.Sum());
    }

    /// <summary>output = round(sum_k weights[k] y_k / divisor), in float64, one rounding.</summary>
    /// <param name="weights">A weight for each client.</param>
    /// <param name="divisor">Divides the sum.</param>
    /// <exception cref="ArgumentException">The weights are not as many as the clients, or one is not finite, or the divisor is 0 or not finite.</exception>
    public void WeightedSum(ReadOnlySpan<double> weights, double divisor)
    {
        if (weights.Length != Clients.Count)
            throw new ArgumentException($"There {Sentence.Form(weights.Length, "is", "are")} {Sentence.Count(weights.Length, "weight")} for {Sentence.Count(Clients.Count, "client")}; one for each was expected.", nameof(weights));
        for (int k = 0; k < weights.Length; k++)
        {
            if (!double.IsFinite(weights[k]))
                throw new ArgumentException($"The weight of client {Sentence.Quote(Clients[k].Id)} is {MetadataKeys.Invariant(weights[k])}; a finite number was expected.", nameof(weights));
        }

        if (divisor == 0 || !double.IsFinite(divisor))
            throw new ArgumentException($"The divisor is {MetadataKeys.Invariant(divisor)}; a finite number other than 0 was expected.", nameof(divisor));
        PanelReader[] inputs = Inputs(UpdateForm.Parameters, withGlobal: false);
        double[] copied = weights.ToArray();
        WritePanels(inputs, new Grouping(Info.Shape, NormAxis.Tensor), (_, panels, panel, output) =>
            _round.Backend.WeightedSum(panels, copied, divisor, panel.Length, output));
    }

    /// <summary>
    /// Computes the output element by element from all clients' values of that element: for rules that no fused verb serves. Where a value or a result is
    /// not finite, the round applies its policy; where the values are finite and the rule's result is not, the round is refused.
    /// </summary>
    /// <param name="form">Whether values are parameters or updates; for updates the result is added to the global model's value.</param>
    /// <param name="rule">Is given the clients' values of one element, in their order and free to be overwritten, and returns the result.</param>
    public void ForEachElement(UpdateForm form, ElementRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        int clients = Clients.Count;
        PanelReader[] inputs = Inputs(form, withGlobal: form == UpdateForm.Delta);
        long ofRule = 0;
        try
        {
            WritePanels(inputs, new Grouping(Info.Shape, NormAxis.Tensor), MakePanel);
        }
        catch (NonFiniteOutputException) when (ofRule > 0)
        {
            throw new NonFiniteOutputException(Info, $"the rule's result is NaN or infinite for {Sentence.Count(ofRule, "element")} of finite values.");
        }

        long MakePanel(IComputeBackend _, ReadOnlySpan<TensorPanel> panels, Grouping.Panel panel, TensorPanel output)
        {
            Span<double> values = new double[clients];
            long nonFinite = 0;
            for (int i = 0; i < panel.Length; i++)
            {
                // a rule may lose them: a median sorts them to one end
                bool finite = true;
                for (int k = 0; k < clients; k++)
                {
                    values[k] = Rounding.Read(panels[k].Data, panels[k].DType, i);
                    finite &= double.IsFinite(values[k]);
                }

                double result = rule(values);
                if (finite && !double.IsFinite(result))
                    Interlocked.Increment(ref ofRule);
                if (form == UpdateForm.Delta)
                    result += Rounding.Read(panels[clients].Data, panels[clients].DType, i);
                Rounding.Write(output.Data, output.DType, i, result);
                if (!finite || !double.IsFinite(Rounding.Read(output.Data, output.DType, i)))
                    nonFinite++;
            }

            return nonFinite;
        }
    }

    /// <summary>output = the global model's value, in the output's type.</summary>
    internal void KeepGlobal()
    {
        if (Output.DType != Info.DType)
        {
            // a kept value that is not finite is the model's own; one that no longer fits is a fault
            double[] one = [1];
            WritePanels([Global], new Grouping(Info.Shape, NormAxis.Tensor), (backend, panels, panel, output) =>
                backend.WeightedSum(panels, one, 1, panel.Length, output) is var found and > 0 ? found - backend.CountNonFinite(panels[0], panel.Length) : 0);
            return;
        }

        _round.Global.CopyTo(_round.Output, Info, _round.Workers.CancellationToken);
    }

    /// <summary>output = the weighted mean of integers, exact in 128 bits, halves to even.</summary>
    internal void IntegerMean()
    {
        var mean = new IntegerMean(Clients.Select(client => client.Weight));
        int size = Info.DType.BitSize / 8;
        PanelReader[] inputs = [.. Open(UpdateForm.Parameters, participant => participant.OpenInteger(Info)), Global];
        List<PanelRun> runs = Runs(inputs, new Grouping(Info.Shape, NormAxis.Tensor).Panels(inputs.Length));
        Look(runs.Count, Worthwhile(inputs), last: true, (piece, scratch) =>
        {
            PanelRun panel = runs[piece];
            TensorPanel[] read = panel.Read(inputs, scratch);
            var output = new TensorPanel(scratch.Take((long)panel.Length * size), Info.DType);
            var values = new Int128[Clients.Count];
            for (int i = 0; i < panel.Length; i++)
            {
                for (int k = 0; k < values.Length; k++)
                    values[k] = FedICU.IntegerMean.Read(read[k], i) + (_round.Participants[k].Kind == UpdateKind.Delta ? FedICU.IntegerMean.Read(read[^1], i) : 0);
                if (!FedICU.IntegerMean.TryWrite(output, i, mean.Of(values)))
                    throw new RoundRejectedException(RoundFault.NonFinite, $"Tensor {Sentence.Quote(Info.Name)}: the mean at element {panel.Start + i} does not fit {Info.DType.SafetensorsName}.", tensor: Info.Name);
            }

            _round.Output.Write(Output, panel.Start * size, new ReadOnlySpan<byte>(output.Data, panel.Length * size));
            Forget(inputs, panel.Start, panel.Length);
        });
    }

    /// <summary>Norms and cosines for the report.</summary>
    internal UpdateStatistics Measure() => UpdateStatistics.Measure(this);

    /// <summary>The readers of all clients, and of the global model after them where asked.</summary>
    internal PanelReader[] Inputs(UpdateForm form, bool withGlobal)
    {
        PanelReader[] readers = Open(form, participant => participant.OpenReader(Info, form, Global, _round.Backend));
        return withGlobal ? [.. readers, Global] : readers;
    }

    /// <summary>A strategy that wrote nothing would leave what the memory held before.</summary>
    internal void RequireWritten()
    {
        if (!_written)
            throw new InvalidOperationException($"Strategy {Sentence.Quote(_round.Strategy)} did not write tensor {Sentence.Quote(Info.Name)}: one call of a verb that writes the output was expected.");
    }

    /// <summary>Brings inputs that are not in memory there, where all of them fit a budget: for strategies that look more than once.</summary>
    internal void Preload(PanelReader[] inputs)
    {
        if (inputs.Sum(reader => reader.PreloadBytes) is var bytes and > 0 && bytes <= _round.PreloadBytes)
        {
            Workers.Run(inputs.Length, parallel: true, (k, _) => inputs[k].Preload(Workers.Memory));
            Forget(inputs, 0, Info.ElementCount);
        }
    }

    /// <summary>The sum of squares of each input in each group: inputs x groups.</summary>
    internal GroupBuffer Squares(PanelReader[] inputs, Grouping grouping)
    {
        List<Grouping.Segment> segments = grouping.Segments(inputs.Length, accumulators: inputs.Length);
        // clients are independent here: with few segments the work is also cut by client, which changes no bit
        int blocks = segments.Count >= Workers.Threads ? 1 : Math.Min(Workers.Threads, inputs.Length);
        using var partial = new PartialSums(Workers.Memory, grouping, segments, inputs.Length);
        Look(segments.Count * blocks, Worthwhile(inputs), last: false, (piece, scratch) =>
        {
            Grouping.Segment segment = segments[piece / blocks];
            int first = inputs.Length * (piece % blocks) / blocks, last = inputs.Length * (piece % blocks + 1) / blocks;
            GroupValues sums = partial.Begin(piece / blocks, first, last);
            foreach (PanelRun run in Runs(inputs.AsSpan(first..last), segment.Panels))
            {
                scratch.Reset();
                TensorPanel[] read = run.Read(inputs.AsSpan(first..last), scratch);
                for (int i = 0; i < run.Count; i++)
                    _round.Backend.AddSquares(run.Part(read, i), Geometry(grouping, run[i]), new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride));
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>
    /// The inner products of all pairs of inputs in each group, pairs (in the order of <see cref="GramPairs"/>) x groups, in one look; or null where
    /// they would take more memory than the look saves.
    /// </summary>
    internal GroupBuffer? TryGram(PanelReader[] inputs, Grouping grouping)
    {
        bool narrow = grouping.GroupsAreColumns && grouping.Groups <= NarrowColumns;
        if (narrow)
            grouping = new Grouping(Info.Shape, NormAxis.Columns, NarrowFold);
        int pairs = GramPairs.Count(inputs.Length);
        long values = grouping.Elements * inputs.Length, sums = pairs * grouping.FoldedGroups;
        bool worthwhile = values >= GramValues || narrow && values >= GramShare * sums;
        if (inputs.Length > GramInputs || !worthwhile || sums > Grouping.MaximumAccumulators)
            return null;
        return SumByGroup(inputs, grouping, pairs, (panels, panel, sums) => _round.Backend.AddGram(panels, Geometry(grouping, panel), sums));
    }

    /// <summary>For each input k: the inner product of a_k x_k with sum_j b_j x_j over the whole tensor.</summary>
    internal double[] Projections(PanelReader[] inputs, Grouping grouping, GroupBuffer a, GroupBuffer b)
    {
        List<Grouping.Panel> panels = grouping.Panels(inputs.Length);
        List<PanelRun> runs = Runs(inputs, panels);
        double[][] partial = new double[panels.Count][];
        using GroupBuffer? foldedA = Folded(grouping, a), foldedB = ReferenceEquals(a, b) ? null : Folded(grouping, b);
        GroupValues allA = (foldedA ?? a).Values, allB = ReferenceEquals(a, b) ? allA : (foldedB ?? b).Values;
        Look(runs.Count, Worthwhile(inputs), last: false, (piece, scratch) =>
        {
            PanelRun run = runs[piece];
            TensorPanel[] read = run.Read(inputs, scratch);
            for (int i = 0; i < run.Count; i++)
                _round.Backend.AddProjections(run.Part(read, i), Geometry(grouping, run[i]), At(allA, run[i]), At(allB, run[i]), partial[run.First + i] = new double[inputs.Length]);
        });
        double[] dots = new double[inputs.Length];
        foreach (double[] part in partial)
            TensorPrimitives.Add(dots, part, dots);
        return dots;
    }

    /// <summary>
    /// The sums of squares of sum_k c_k x_k in each group; where <paramref name="unrounded"/> is given (room for the whole tensor), the combination
    /// itself is kept there in float64.
    /// </summary>
    internal GroupBuffer CombinationSquares(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, NativeBuffer? unrounded)
    {
        using GroupBuffer? folded = Folded(grouping, coefficients);
        GroupValues all = (folded ?? coefficients).Values;
        return SumByGroup(inputs, grouping, 1, (panels, panel, squares) =>
        {
            var output = new TensorPanel(unrounded is null ? null : (double*)unrounded.Pointer + panel.Start, DType.F64);
            _round.Backend.Combine(panels, Geometry(grouping, panel), At(all, panel), null, output, squares.Data);
        });
    }

    /// <summary>output = round(scale * sum_k c_k x_k), a coefficient for each input and group and, unless null, a scale for each group.</summary>
    internal void Combine(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, GroupBuffer? scales)
    {
        using GroupBuffer? folded = Folded(grouping, coefficients), foldedScales = scales is null ? null : Folded(grouping, scales);
        GroupValues all = (folded ?? coefficients).Values;
        double* factors = scales is null ? null : (foldedScales ?? scales).Values.Data;
        WritePanels(inputs, grouping, (backend, panels, panel, output) =>
            backend.Combine(panels, Geometry(grouping, panel), At(all, panel), factors is null ? null : factors + panel.Group, output, null));
    }

    /// <summary>How many values of an input are NaN or infinite.</summary>
    internal long CountNonFinite(PanelReader input)
    {
        List<Grouping.Panel> panels = new Grouping(Info.Shape, NormAxis.Tensor).Panels(1);
        long count = 0;
        Workers.Run(panels.Count, Worthwhile([input]), (piece, scratch) =>
        {
            Grouping.Panel panel = panels[piece];
            Interlocked.Add(ref count, _round.Backend.CountNonFinite(input.Read(panel.Start, panel.Length, scratch), panel.Length));
        });
        return count;
    }

    /// <summary>The global model's tensor.</summary>
    internal DensePanelReader Global => _global ??= new DensePanelReader(_round.Global, Info);

    private protected void Close()
    {
        foreach (PanelReader reader in _readers.Values.SelectMany(readers => readers))
            reader.Dispose();
        _readers.Clear();
        _global?.Dispose();
        _global = null;
    }

    private delegate long PanelVerb(IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, TensorPanel output);

    private void WritePanels(PanelReader[] inputs, Grouping grouping, PanelVerb verb)
    {
        if (_written)
            throw new InvalidOperationException($"Strategy {Sentence.Quote(_round.Strategy)} wrote tensor {Sentence.Quote(Info.Name)} twice: one call of a verb that writes the output was expected.");
        _written = true;
        List<PanelRun> runs = Runs(inputs, grouping.Panels(inputs.Length));
        int size = Output.DType.BitSize / 8;
        byte* memory = (byte*)_round.Output.TryGetPointer(Output);
        long nonFinite = 0;
        Look(runs.Count, Worthwhile(inputs), last: true, (piece, scratch) =>
        {
            PanelRun run = runs[piece];
            TensorPanel[] read = run.Read(inputs, scratch);
            byte* target = memory is null ? scratch.Take((long)run.Length * size) : memory + run.Start * size;
            long found = 0;
            for (int i = 0; i < run.Count; i++)
                found += verb(_round.Backend, run.Part(read, i), run[i], new TensorPanel(target + (run[i].Start - run.Start) * size, Output.DType));
            if (found != 0)
                Interlocked.Add(ref nonFinite, found);
            else if (memory is null)
                _round.Output.Write(Output, run.Start * size, new ReadOnlySpan<byte>(target, run.Length * size));
            Forget(inputs, run.Start, run.Length);
        });
        if (nonFinite != 0)
            throw new NonFiniteOutputException(Info, $"{Sentence.Count(nonFinite, "result")} {Sentence.Form(nonFinite, "is", "are")} not finite, from finite inputs; {Sentence.Form(nonFinite, "it does", "they do")} not fit {Output.DType.SafetensorsName}.");
    }

    private delegate void GroupVerb(ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, GroupValues sums);

    /// <summary>So many sums of each group, of all inputs together: summed by segment, then over the segments.</summary>
    private GroupBuffer SumByGroup(PanelReader[] inputs, Grouping grouping, int accumulators, GroupVerb verb)
    {
        List<Grouping.Segment> segments = grouping.Segments(inputs.Length, accumulators);
        bool inMemory = grouping.GroupsAreColumns && Array.TrueForAll(inputs, input => input.IsInMemory);
        using var partial = new PartialSums(Workers.Memory, grouping, segments, accumulators);
        Look(segments.Count, Worthwhile(inputs), last: false, (piece, scratch) =>
        {
            Grouping.Segment segment = segments[piece];
            GroupValues sums = partial.Begin(piece, 0, accumulators);
            foreach (PanelRun run in Runs(inputs, inMemory ? [.. segment.Joined()] : segment.Panels))
            {
                scratch.Reset();
                TensorPanel[] read = run.Read(inputs, scratch);
                for (int i = 0; i < run.Count; i++)
                    verb(run.Part(read, i), run[i], new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride));
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>Opens a reader for each client, once for each form.</summary>
    private PanelReader[] Open(UpdateForm form, Func<Participant, PanelReader> open)
    {
        if (_readers.TryGetValue(form, out PanelReader[]? readers))
            return readers;
        var opened = new List<PanelReader>(Clients.Count);
        try
        {
            foreach (Participant participant in _round.Participants)
                opened.Add(open(participant));
        }
        catch
        {
            opened.ForEach(reader => reader.Dispose());
            throw;
        }

        return _readers[form] = [.. opened];
    }

    /// <summary>Runs the pieces of a look at the inputs, the last of which writes, and tells how far it is.</summary>
    private void Look(int pieces, bool parallel, bool last, Action<int, Scratch> piece)
    {
        if (_progress is null)
        {
            Workers.Run(pieces, parallel, piece);
            return;
        }

        _progress.BeginLook(pieces, last);
        Workers.Run(pieces, parallel, (i, scratch) =>
        {
            piece(i, scratch);
            _progress.EndPiece();
        });
    }

    private bool Worthwhile(PanelReader[] inputs) => Info.ElementCount * inputs.Length >= Workers.WorthThreads;

    private List<PanelRun> Runs(ReadOnlySpan<PanelReader> inputs, List<Grouping.Panel> panels) => PanelRun.Cut(panels, inputs, Info.ElementCount, Workers.Threads);

    /// <summary>These elements of all inputs will not be read again.</summary>
    private void Forget(PanelReader[] inputs, long start, long count)
    {
        for (int k = 0; k < inputs.Length && _round.LargerThanMemory; k++)
            inputs[k].Forget(start, count);
    }

    private static PanelGeometry Geometry(Grouping grouping, Grouping.Panel panel) => new(panel.Rows, panel.Columns, grouping.GroupsAreColumns);

    private static GroupValues At(GroupValues values, Grouping.Panel panel) => new(values.Data + panel.Group, values.Stride);

    /// <summary>Each group's value repeated for its folded copies; null where nothing is folded.</summary>
    private GroupBuffer? Folded(Grouping grouping, GroupBuffer values)
    {
        if (grouping.Fold == 1)
            return null;
        var folded = NewGroups(values.Inputs, grouping.FoldedGroups, clear: false);
        int groups = (int)grouping.Groups;
        for (int k = 0; k < values.Inputs; k++)
        {
            // twice as many copies each time
            Span<double> row = folded[k];
            values[k].CopyTo(row);
            for (int done = groups; done < row.Length; done *= 2)
                row[..Math.Min(done, row.Length - done)].CopyTo(row[done..]);
        }

        return folded;
    }
}

/// <summary>A tensor's context with its end: what was opened for it is closed.</summary>
internal sealed class OpenTensorContext(RoundState round, TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress = null)
    : TensorContext(round, info, output, progress), IDisposable
{
    public void Dispose() => Close();
}

/// <summary>Makes one output element of all clients' values of it.</summary>
/// <param name="values">The clients' values in the order of <see cref="TensorContext.Clients"/>; may be overwritten.</param>
public delegate double ElementRule(Span<double> values);

/// <summary>A tensor's results are not finite; the round looks for the cause.</summary>
/// <param name="tensor">The tensor.</param>
/// <param name="fromFinite">What is said of it where all inputs are finite.</param>
internal sealed class NonFiniteOutputException(TensorInfo tensor, string fromFinite) : Exception(fromFinite)
{
    public TensorInfo Tensor => tensor;
}
