using System.Diagnostics.CodeAnalysis;
using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Rounds;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// One tensor of a round, as a strategy sees it: the clients' checked inputs, and fused verbs over them that end in the output. Exactly one verb that
/// writes the output is called for each tensor. Valid until <see cref="ITensorRule.Aggregate"/> returns: then it serves another tensor.
/// </summary>
public unsafe class TensorContext
{
    // up to this many values a further look finds them in the cache; then all
    // pairs are worth it only for narrow matrices with so many values for each sum, such as LoRA's B, folded to rows of a line of the cache: the sums of all pairs
    // stay in registers while an input's memory is gone through as it lies
    private const int NarrowColumns = 512, NarrowFold = 16;
    internal const long GramValues = 1 << 24, GramShare = 6;

    // inputs whose squares are summed at once, and pieces of the work that keep threads busy
    private const int SquaresAbreast = 4, SquaresPieces = 64;

    // cuts of so many shapes are kept, of tensors up to so many elements: of larger ones the cut costs nothing beside the work, and memory
    private const int KeptGroupings = 64, KeptElements = 1 << 20;

    private readonly RoundState _round;
    private readonly InputSet?[] _inputs = new InputSet?[4];
    private readonly Dictionary<(TensorShape, NormAxis, int FoldedColumns, bool OnDevice), Grouping> _groupings = [];
    private readonly double[] _weights, _scores, _given;
    private readonly PanelReader[] _unrounded = [new UnroundedReader()];
    private ProgressMeter.TensorProgress? _progress;
    private GlobalReader _global, _globalOnDevice;
    private int _number, _looks;
    private bool _written;
    private long _nonFinite;

    private protected TensorContext(RoundState round, TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress, int number)
    {
        int clients = round.Clients.Count;
        (_round, _weights, _scores, _given) = (round, new double[clients], new double[clients], new double[clients]);
        Begin(info, output, progress, number);
    }

    /// <summary>The tensor's name, its type in the global model, its shape.</summary>
    public TensorInfo Info { get; private set; }

    /// <summary>The tensor in the output: the same name and shape, possibly another type.</summary>
    public TensorInfo Output { get; private set; }

    /// <summary>The clients in ordinal order of their ids; inputs of the verbs are numbered by it.</summary>
    public IReadOnlyList<RoundClient> Clients => _round.Clients;

    /// <summary>The clients' weights, or a power of two times them.</summary>
    internal ReadOnlySpan<double> Weights => _round.Weights;

    internal Workers Workers => _round.Workers;

    /// <summary>Room for a value of each input and group.</summary>
    internal GroupBuffer NewGroups(int inputs, long groups, bool clear = true) => Workers.Memory.Rent(inputs, groups, clear);

    /// <summary>Puts the weight (and score) by which a client's part was combined into the report.</summary>
    /// <param name="client">The client's number in <see cref="Clients"/>.</param>
    /// <param name="weight">w_k.</param>
    /// <param name="score">s_k, what the weight was made of.</param>
    /// <exception cref="ArgumentOutOfRangeException">There is no client of that number.</exception>
    public void ReportWeight(int client, double weight, double? score = null)
    {
        if (client < 0 || client >= Clients.Count)
            throw new ArgumentOutOfRangeException(nameof(client), client, $"There is no client of this number; one from 0 to {Clients.Count - 1} was expected.");
        (_weights[client], _scores[client]) = (weight, score ?? double.NaN);
    }

    /// <summary>What was reported of the clients: their weights, and after them their scores where there are any, NaN where none was; null where each weighs its share.</summary>
    internal double[]? Reported()
    {
        bool hasScores = _scores.AsSpan().ContainsAnyExcept(double.NaN), byShare = !hasScores;
        for (int k = 0; k < _weights.Length && byShare; k++)
            byShare = _weights[k] == Clients[k].Share;
        return byShare ? null : hasScores ? [.. _weights, .. _scores] : [.. _weights];
    }

    /// <summary>output = round(sum_k n_k y_k / sum_k n_k): the mean by the clients' weights (McMahan et al. 2017).</summary>
    public void WeightedMean()
    {
        for (int k = 0; k < Clients.Count; k++)
            ReportWeight(k, Clients[k].Share);
        WeightedSum(_round.Weights, _round.Weights.Sum());
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
                throw new ArgumentException($"The weight of client {Sentence.Quote(Clients[k].Id)} is {Numbers.Invariant(weights[k])}; a finite number was expected.", nameof(weights));
        }

        if (divisor == 0 || !double.IsFinite(divisor))
            throw new ArgumentException($"The divisor is {Numbers.Invariant(divisor)}; a finite number other than 0 was expected.", nameof(divisor));
        weights.CopyTo(_given);
        WritePanels(Inputs(UpdateForm.Parameters, withGlobal: false, onDevice: OnDevice), GroupingBy(NormAxis.Tensor, onDevice: OnDevice), (_given, divisor), static (sum, backend, panels, panel, output) =>
            backend.WeightedSum(panels, sum._given, sum.divisor, panel.Length, output), isMean: true);
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
            WritePanels(inputs, GroupingBy(NormAxis.Tensor), form, MakePanel);
        }
        catch (NonFiniteOutputException) when (ofRule > 0)
        {
            throw new NonFiniteOutputException(Info, $"the rule's result is NaN or infinite for {Sentence.Count(ofRule, "element")} of finite values.");
        }

        long MakePanel(UpdateForm form, IComputeBackend _, ReadOnlySpan<TensorPanel> panels, Grouping.Panel panel, TensorPanel output)
        {
            Span<double> values = new double[clients];
            long nonFinite = 0;
            _round.Work.AddOnCpu(panels, panel.Length);
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
            WritePanels([Global], GroupingBy(NormAxis.Tensor), 1.0, static (one, backend, panels, panel, output) =>
                backend.WeightedSum(panels, [one], 1, panel.Length, output) is var found and > 0 ? found - backend.CountNonFinite(panels[0], panel.Length) : 0);
            return;
        }

        _round.Global.CopyTo(_round.Output, Info, Info, _round.Workers.CancellationToken);
    }

    /// <summary>output = the weighted mean of integers, exact in 128 bits, halves to even.</summary>
    internal void WriteIntegerMean()
    {
        var mean = new IntegerMean(Clients.Select(client => client.Weight));
        int size = Info.DType.BitSize / 8;
        PanelReader[] inputs = Inputs(UpdateForm.Parameters, withGlobal: true, whole: true);
        PanelRuns runs = Runs(inputs, GroupingBy(NormAxis.Tensor).Panels(inputs.Length));
        Look(runs.Count, Worthwhile(inputs), last: true, this, (_, piece, scratch) =>
        {
            PanelRun panel = runs[piece];
            ReadOnlySpan<TensorPanel> read = panel.Read(inputs, scratch);
            var output = new TensorPanel(scratch.Take((long)panel.Length * size), Info.DType);
            var values = new Int128[Clients.Count];
            _round.Work.AddOnCpu(read, panel.Length);
            for (int i = 0; i < panel.Length; i++)
            {
                for (int k = 0; k < values.Length; k++)
                    values[k] = IntegerMean.Read(read[k], i) + (_round.Participants[k].Kind == UpdateKind.Delta ? IntegerMean.Read(read[^1], i) : 0);
                if (!IntegerMean.TryWrite(output, i, mean.Of(values)))
                    throw new RoundRejectedException(RoundFault.NonFinite, $"Tensor {Sentence.Quote(Info.Name)}: the mean at element {panel.Start + i} does not fit {Info.DType.SafetensorsName}.", tensor: Info.Name);
            }

            _round.Output.Write(Output, panel.Start * size, new ReadOnlySpan<byte>(output.Data, panel.Length * size));
            Forget(inputs, panel.Start, panel.Length);
        });
    }

    /// <summary>Norms and cosines for the report.</summary>
    internal UpdateStatistics Measure() => UpdateStatistics.Measure(this);

    /// <summary>The readers of all clients, and of the global model after them where asked: the same arrays each time.</summary>
    /// <param name="form">What is read of a client.</param>
    /// <param name="withGlobal">Whether the global model is an input too.</param>
    /// <param name="whole">Whether tensors are taken as they were sent: integers.</param>
    /// <param name="onDevice">Whether panels may lie on the round's device: for verbs of the backend alone.</param>
    internal PanelReader[] Inputs(UpdateForm form, bool withGlobal, bool whole = false, bool onDevice = false)
    {
        InputSet set = _inputs[(int)form + (onDevice ? 2 : 0)] ??= new InputSet(Clients.Count);
        DensePanelReader global = onDevice ? _globalOnDevice.Open(_round, Info, _number, onDevice: true) : Global;
        for (; set.Opened < Clients.Count; set.Opened++)
        {
            Participant participant = _round.Participants[set.Opened];
            PanelReader? spare = set.Clients[set.Opened];
            PanelReader reader = whole ? participant.OpenWhole(Info, _number, spare) : participant.OpenReader(Info, _number, form, global, _round.Backend, spare, onDevice);
            if (reader != spare)
                set.WithGlobal[set.Opened] = set.Clients[set.Opened] = reader;
        }

        if (!withGlobal)
            return set.Clients;
        set.WithGlobal[^1] = global;
        return set.WithGlobal;
    }

    /// <summary>The unrounded combination as the one input of the last step.</summary>
    internal PanelReader[] Read(Unrounded values)
    {
        ((UnroundedReader)_unrounded[0]).Values = values;
        return _unrounded;
    }

    /// <summary>Room for a combination of the inputs in float64, on the device where they are there; null where it has none left.</summary>
    internal Unrounded? NewUnrounded(bool onDevice)
    {
        long bytes = Info.ElementCount * sizeof(double);
        if (onDevice)
            return _round.Backend.AllocateOnDevice(bytes, out nint address) is { } there ? new Unrounded(there, (void*)address, onDevice: true) : null;
        NativeBuffer here = Workers.Memory.Rent(bytes);
        return new Unrounded(here, here.Pointer, onDevice: false);
    }

    /// <summary>How the tensor is cut into groups.</summary>
    internal Grouping GroupingBy(NormAxis axis, int foldedColumns = Grouping.FoldedColumns, bool onDevice = false)
    {
        if (_groupings.TryGetValue((Info.Shape, axis, foldedColumns, onDevice), out Grouping? grouping))
            return grouping;
        grouping = new Grouping(Info.Shape, axis, foldedColumns, onDevice ? _round.PanelElementsOnDevice : null);
        if (_groupings.Count < KeptGroupings && Info.ElementCount <= KeptElements)
            _groupings.Add((Info.Shape, axis, foldedColumns, onDevice), grouping);
        return grouping;
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
        long bytes = 0;
        foreach (PanelReader reader in inputs)
            bytes += reader.PreloadBytes;
        if (bytes > 0 && bytes <= _round.PreloadBytes)
        {
            Workers.Run(inputs.Length, parallel: true, (inputs, Workers.Memory), static (to, k, _) => to.inputs[k].Preload(to.Memory));
            Forget(inputs, 0, Info.ElementCount);
        }
    }

    /// <summary>The sum of squares of each input in each group: inputs x groups.</summary>
    internal GroupBuffer Squares(PanelReader[] inputs, Grouping grouping)
    {
        int count = inputs.Length;
        // clients are independent here: few at a time, their sums stay near while their rows go by, and segments are as many as keep threads busy; a device cuts the work by itself
        bool byClient = _round.Backend.Device is null;
        int abreast = byClient ? Math.Min(SquaresAbreast, count) : count;
        List<Grouping.Segment> segments = byClient ? grouping.Segments(abreast, accumulators: count, most: (SquaresPieces + count - 1) / count) : grouping.Segments(count, accumulators: count);
        int blocks = (count + abreast - 1) / abreast;
        using var partial = new PartialSums(Workers.Memory, grouping, segments, count);
        Look(segments.Count * blocks, Worthwhile(inputs), last: false, (Context: this, inputs, grouping, segments, abreast, blocks, partial), static (look, piece, scratch) =>
        {
            (TensorContext context, PanelReader[] inputs, Grouping grouping, List<Grouping.Segment> segments, int abreast, int blocks, PartialSums partial) = look;
            Grouping.Segment segment = segments[piece / blocks];
            int first = piece % blocks * abreast, last = Math.Min(first + abreast, inputs.Length);
            ReadOnlySpan<PanelReader> some = inputs.AsSpan(first..last);
            GroupValues sums = partial.Begin(piece / blocks, first, last);
            PanelRuns runs = context.Runs(some, segment.Panels);
            for (int r = 0; r < runs.Count; r++)
            {
                PanelRun run = runs[r];
                scratch.Reset();
                Span<TensorPanel> read = run.Read(some, scratch);
                for (int i = 0; i < run.Count; i++)
                    context._round.Backend.AddSquares(run.Next(read, i), Geometry(grouping, run[i]), new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride));
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>Readers of the inputs' values times a power of two; the inputs themselves where it is 1.</summary>
    internal PanelReader[] Scaled(PanelReader[] inputs, double factor) =>
        factor == 1 ? inputs : Array.ConvertAll(inputs, input => (PanelReader)new ScaledPanelReader(input, factor, _round.Backend));

    /// <summary>
    /// Computes again the norms whose squares are larger than float64 holds: of scaled values (Blue 1978). The other norms stay as they
    /// are.
    /// </summary>
    /// <param name="norms">A norm of each input and group; those to be computed again are infinite.</param>
    /// <param name="inputs">The inputs, in host memory.</param>
    /// <param name="grouping">The groups.</param>
    internal void RestoreNorms(GroupBuffer norms, PanelReader[] inputs, Grouping grouping)
    {
        for (int k = 0; k < norms.Inputs; k++)
        {
            Span<double> own = norms[k];
            if (!own.Contains(double.PositiveInfinity))
                continue;
            using GroupBuffer squares = Squares(Scaled([inputs[k]], SumScale.Down), grouping);
            for (int group = 0; group < own.Length; group++)
            {
                if (double.IsPositiveInfinity(own[group]))
                    own[group] = Math.Sqrt(squares[0][group]) * SumScale.Up;
            }
        }
    }

    /// <summary>
    /// The inner products of all pairs of inputs in each group, pairs (in the order of <see cref="GramPairs"/>) x groups, in one look; or null where
    /// they would take more memory than the look saves.
    /// </summary>
    internal GroupBuffer? TryGram(PanelReader[] inputs, Grouping grouping)
    {
        if (inputs.Length > _round.Backend.PairInputs)
            return null;
        bool narrow = grouping.GroupsAreColumns && grouping.Groups <= NarrowColumns;
        if (narrow)
            grouping = GroupingBy(NormAxis.Columns, (int)Math.Max(NarrowFold, grouping.Groups * Grouping.GetRowsOfFullVectors(grouping.Groups)));
        int pairs = GramPairs.Count(inputs.Length);
        long values = grouping.Elements * inputs.Length, sums = pairs * grouping.FoldedGroups;
        bool worthwhile = values >= GramValues || narrow && values >= GramShare * sums;
        if (!worthwhile || sums > Grouping.MaximumAccumulators)
            return null;
        return SumByGroup(inputs, grouping, pairs, grouping, static (grouping, backend, panels, panel, sums) => backend.AddGram(panels, Geometry(grouping, panel), sums));
    }

    /// <summary>For each input k into <paramref name="dots"/>: the inner product of a_k x_k with sum_j b_j x_j over the whole tensor.</summary>
    internal void Projections(PanelReader[] inputs, Grouping grouping, GroupBuffer a, GroupBuffer b, Span<double> dots)
    {
        List<Grouping.Panel> panels = grouping.Panels(inputs.Length);
        PanelRuns runs = Runs(inputs, panels);
        // of each panel, added in ascending order
        using GroupBuffer partial = NewGroups(panels.Count, inputs.Length);
        using GroupBuffer? foldedA = Folded(grouping, a), foldedB = ReferenceEquals(a, b) ? null : Folded(grouping, b);
        GroupValues allA = (foldedA ?? a).ToValues(), allB = ReferenceEquals(a, b) ? allA : (foldedB ?? b).ToValues();
        Look(runs.Count, Worthwhile(inputs), last: false, (_round.Backend, inputs, grouping, runs, allA, allB, partial), static (look, piece, scratch) =>
        {
            (IComputeBackend backend, PanelReader[] inputs, Grouping grouping, PanelRuns runs, GroupValues a, GroupValues b, GroupBuffer partial) = look;
            PanelRun run = runs[piece];
            Span<TensorPanel> read = run.Read(inputs, scratch);
            for (int i = 0; i < run.Count; i++)
                backend.AddProjections(run.Next(read, i), Geometry(grouping, run[i]), At(a, run[i]), At(b, run[i]), partial[run.First + i]);
        });
        dots.Clear();
        for (int panel = 0; panel < panels.Count; panel++)
            TensorPrimitives.Add(dots, partial[panel], dots);
    }

    /// <summary>
    /// The sums of squares of sum_k c_k x_k in each group; where <paramref name="unrounded"/> is given (room for the whole tensor), the combination
    /// itself is kept there in float64.
    /// </summary>
    internal GroupBuffer CombinationSquares(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, Unrounded? unrounded)
    {
        using GroupBuffer? folded = Folded(grouping, coefficients);
        GroupValues all = (folded ?? coefficients).ToValues();
        return SumByGroup(inputs, grouping, 1, (grouping, all, unrounded), static (sum, backend, panels, panel, squares) =>
        {
            TensorPanel output = sum.unrounded?.From(panel.Start) ?? new TensorPanel(null, DType.F64);
            backend.Combine(panels, Geometry(sum.grouping, panel), At(sum.all, panel), null, output, squares.Data);
        });
    }

    /// <summary>output = round(scale * sum_k c_k x_k), a coefficient for each input and group and, unless null, a scale for each group.</summary>
    internal void Combine(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, GroupBuffer? scales)
    {
        using GroupBuffer? folded = Folded(grouping, coefficients), foldedScales = scales is null ? null : Folded(grouping, scales);
        GroupValues all = (folded ?? coefficients).ToValues(), factors = (foldedScales ?? scales)?.ToValues() ?? default;
        WritePanels(inputs, grouping, (grouping, all, factors), static (sum, backend, panels, panel, output) =>
            backend.Combine(panels, Geometry(sum.grouping, panel), At(sum.all, panel), sum.factors.Data is null ? null : At(sum.factors, panel).Data, output, null));
    }

    /// <summary>
    /// output = round(factor * sum_k c_k x_k) of scaled inputs, where the sum of the inputs themselves may pass the largest float64 by its
    /// roundings.
    /// </summary>
    internal void CombineScaled(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, double factor)
    {
        using Unrounded sums = NewUnrounded(onDevice: false)!.Value;
        CombinationSquares(inputs, grouping, coefficients, sums).Dispose();
        WritePanels(Read(sums), GroupingBy(NormAxis.Tensor), factor, static (factor, _, panels, panel, output) =>
        {
            long nonFinite = 0;
            for (int i = 0; i < panel.Length; i++)
            {
                Rounding.Write(output.Data, output.DType, i, SumScale.Restore(((double*)panels[0].Data)[i], factor));
                nonFinite += double.IsFinite(Rounding.Read(output.Data, output.DType, i)) ? 0 : 1;
            }

            return nonFinite;
        });
    }

    /// <summary>How many values of an input are NaN or infinite.</summary>
    internal long CountNonFinite(PanelReader input) => Count(input, (panel, length, _) => _round.Backend.CountNonFinite(panel, length));

    /// <summary>How many finite values of an input are too large for the output's type.</summary>
    internal long CountTooLarge(PanelReader input) => Count(input, (panel, length, scratch) =>
    {
        var rounded = new TensorPanel(scratch.Take((long)length * Output.DType.BitSize / 8), Output.DType);
        return _round.Backend.WeightedSum([panel], [1], 1, length, rounded) - _round.Backend.CountNonFinite(panel, length);
    });

    private long Count(PanelReader input, Func<TensorPanel, int, Scratch, long> countPanel)
    {
        List<Grouping.Panel> panels = GroupingBy(NormAxis.Tensor).Panels(1);
        long count = 0;
        Workers.Run(panels.Count, Worthwhile([input]), (piece, scratch) =>
        {
            Grouping.Panel panel = panels[piece];
            Interlocked.Add(ref count, countPanel(input.Read(panel.Start, panel.Length, scratch), panel.Length, scratch));
        });
        return count;
    }

    /// <summary>The global model's tensor.</summary>
    internal DensePanelReader Global => _global.Open(_round, Info, _number, onDevice: false);

    /// <summary>Whether the round's tensors lie on the backend's device.</summary>
    internal bool OnDevice => _round.OnDevice;

    /// <summary>Serves a tensor from now on; what was opened for the one before is closed.</summary>
    [MemberNotNull(nameof(Info), nameof(Output))]
    private protected void Begin(TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress, int number)
    {
        (Info, Output, _progress, _number, _looks, _written) = (info, output, progress, number, 0, false);
        _weights.AsSpan().Fill(double.NaN);
        _scores.AsSpan().Fill(double.NaN);
    }

    private protected void Close()
    {
        foreach (InputSet? set in _inputs)
        {
            for (; set?.Opened > 0; set.Opened--)
                set.Clients[set.Opened - 1].Dispose();
        }

        _global.Close();
        _globalOnDevice.Close();
        _written = true;
    }

    /// <summary>The global model's tensor in one place, opened when it is first wanted; the reader serves the next tensor.</summary>
    private struct GlobalReader
    {
        private DensePanelReader? _reader;
        private bool _isOpen;

        public DensePanelReader Open(RoundState round, TensorInfo tensor, int number, bool onDevice)
        {
            if (!_isOpen)
                _reader?.Open(round.Global, tensor, null, number, onDevice);
            _isOpen = true;
            return _reader ??= new DensePanelReader(round.Global, tensor, null, number, onDevice);
        }

        public void Close()
        {
            _reader?.Dispose();
            _isOpen = false;
        }
    }

    /// <summary>The clients' readers in one form, and once more with the global model's after them: kept from tensor to tensor.</summary>
    private sealed class InputSet(int clients)
    {
        public readonly PanelReader[] Clients = new PanelReader[clients], WithGlobal = new PanelReader[clients + 1];
        public int Opened;
    }

    // verbs are handed what they need, as closures would be allocated for each tensor
    private delegate long PanelVerb<T>(T state, IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, TensorPanel output);

    private void WritePanels<T>(PanelReader[] inputs, Grouping grouping, T state, PanelVerb<T> verb, bool isMean = false)
    {
        if (_written)
            throw new InvalidOperationException($"Strategy {Sentence.Quote(_round.Strategy)} wrote tensor {Sentence.Quote(Info.Name)} twice: one call of a verb that writes the output was expected.");
        _written = true;
        PanelRuns runs = Runs(inputs, grouping.Panels(inputs.Length));
        bool onDevice = _round.WritesOnDevice && inputs[0].IsOnDevice;
        var memory = new TensorPanel(onDevice ? (void*)_round.Output.AddressOnDevice(Output) : _round.Output.TryGetPointer(Output), Output.DType, onDevice);
        _nonFinite = 0;
        Look(runs.Count, Worthwhile(inputs), last: true, (Context: this, inputs, runs, memory, state, verb), static (look, piece, scratch) =>
        {
            (TensorContext context, PanelReader[] inputs, PanelRuns runs, TensorPanel memory, T state, PanelVerb<T> verb) = look;
            RoundState round = context._round;
            PanelRun run = runs[piece];
            int size = memory.DType.BitSize / 8;
            Span<TensorPanel> read = run.Read(inputs, scratch);
            byte* target = memory.Data is null ? scratch.Take((long)run.Length * size) : (byte*)memory.Data + run.Start * size;
            long found = 0;
            for (int i = 0; i < run.Count; i++)
                found += verb(state, round.Backend, run.Next(read, i), run[i], new TensorPanel(target + (run[i].Start - run.Start) * size, memory.DType, memory.OnDevice));
            if (found != 0)
                Interlocked.Add(ref context._nonFinite, found);
            else if (memory.Data is null)
                round.Output.Write(context.Output, run.Start * size, new ReadOnlySpan<byte>(target, run.Length * size));
            context.Forget(inputs, run.Start, run.Length);
        });
        if (_nonFinite is not 0 and var found)
            throw new NonFiniteOutputException(Info, DescribeNonFinite(found, isMean));
    }

    /// <summary>
    /// A mean that is not finite does not fit its type. Other results may be finite themselves where a step on the way to them was not.
    /// </summary>
    private string DescribeNonFinite(long count, bool isMean)
    {
        string fault = $"{Sentence.Count(count, "result")} {Sentence.Form(count, "is", "are")} not finite, from finite inputs;";
        return isMean || Output.DType != DType.F64
            ? $"{fault} {Sentence.Form(count, "it does", "they do")} not fit {Output.DType.SafetensorsName}."
            : $"{fault} {Sentence.Form(count, "it, or a step on the way to it, is", "they, or steps on the way to them, are")} too large for F64.";
    }

    private delegate void GroupVerb<T>(T state, IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, GroupValues sums);

    /// <summary>So many sums of each group, of all inputs together: summed by segment, then over the segments.</summary>
    private GroupBuffer SumByGroup<T>(PanelReader[] inputs, Grouping grouping, int accumulators, T state, GroupVerb<T> verb)
    {
        List<Grouping.Segment> segments = grouping.Segments(inputs.Length, accumulators);
        bool joined = grouping.GroupsAreColumns && Array.TrueForAll(inputs, static input => input.IsInMemory);
        using var partial = new PartialSums(Workers.Memory, grouping, segments, accumulators);
        Look(segments.Count, Worthwhile(inputs), last: false, (Context: this, inputs, segments, joined, partial, state, verb), static (look, piece, scratch) =>
        {
            (TensorContext context, PanelReader[] inputs, List<Grouping.Segment> segments, bool joined, PartialSums partial, T state, GroupVerb<T> verb) = look;
            Grouping.Segment segment = segments[piece];
            GroupValues sums = partial.Begin(piece);
            PanelRuns runs = context.Runs(inputs, joined ? segment.Joined : segment.Panels);
            for (int r = 0; r < runs.Count; r++)
            {
                PanelRun run = runs[r];
                scratch.Reset();
                Span<TensorPanel> read = run.Read(inputs, scratch);
                for (int i = 0; i < run.Count; i++)
                    verb(state, context._round.Backend, run.Next(read, i), run[i], new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride));
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>Runs the pieces of a look at the inputs, the last of which writes, and tells how far it is.</summary>
    private void Look<T>(int pieces, bool parallel, bool last, T state, Action<T, int, Scratch> piece)
    {
        if (_looks++ > 0)
            _round.ReadAhead?.Begin(_number + 1);
        if (_progress is null)
        {
            Workers.Run(pieces, parallel, state, piece);
            return;
        }

        _progress.BeginPass(pieces, last);
        Workers.Run(pieces, parallel, (state, piece, _progress), static (look, i, scratch) =>
        {
            look.piece(look.state, i, scratch);
            look._progress.EndPiece();
        });
    }

    private bool Worthwhile(PanelReader[] inputs) => Info.ElementCount * inputs.Length >= Workers.WorthThreads;

    private PanelRuns Runs(ReadOnlySpan<PanelReader> inputs, List<Grouping.Panel> panels) => PanelRun.Cut(panels, inputs, Info.ElementCount, Workers.Threads);

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
