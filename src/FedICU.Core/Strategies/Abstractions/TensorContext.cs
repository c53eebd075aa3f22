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
/// One tensor of a round as a strategy sees it: the clients' checked inputs, and fused verbs that compute the output
/// from them. A strategy calls exactly one verb that writes the output.
/// </summary>
/// <remarks>
/// A context is valid until <see cref="ITensorRule.Aggregate"/> returns; then it is reused for another tensor.
/// </remarks>
public unsafe class TensorContext
{
    /// <summary>
    /// The smallest number of values of all inputs for which <see cref="TryGram"/> is used. The caches hold fewer
    /// values, so that separate passes over them are cheap (measured, docs/adr/0008).
    /// </summary>
    internal const long GramValues = 1 << 24;

    // The largest number of columns of a narrow matrix, such as LoRA's B (measured, docs/adr/0008).
    private const int NarrowColumns = 512;

    // The smallest number of values for each inner product for which TryGram is used on a narrow matrix (measured).
    private const long NarrowValuesPerSum = 6;

    // Columns that a narrow matrix is folded to: one cache line of F32. The sums of all pairs then stay in registers
    // while each input is read in the order of its memory (measured, docs/adr/0008).
    private const int NarrowFold = 16;

    // The number of inputs whose squares are summed side by side: few, so that their sums stay in the cache (chosen).
    private const int SquaresInputs = 4;

    // The number of pieces of work that a pass for squares is cut into, to keep all threads busy (chosen).
    private const int SquaresPieces = 64;

    // The largest number of groupings that a context keeps for later tensors of the same shape (chosen).
    private const int KeptGroupings = 64;

    // The largest number of elements of a tensor whose grouping is kept. For a larger tensor, cutting it again costs
    // nothing beside the work, and keeping its grouping would cost memory (chosen).
    private const int KeptElements = 1 << 20;

    private readonly RoundState _round;
    private readonly InputSet?[] _inputs = new InputSet?[4];
    private readonly Dictionary<(TensorShape, NormAxis, int FoldedColumns, bool OnDevice), Grouping> _groupings = [];
    private readonly double[] _weights, _scores, _given;
    private readonly PanelReader[] _unrounded = [new UnroundedReader()];
    private ProgressMeter.TensorProgress? _progress;
    private GlobalReader _global, _globalOnDevice;
    private int _number, _passes;
    private bool _written;
    private long _nonFinite;

    private protected TensorContext(
        RoundState round, TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress, int number)
    {
        int clients = round.Clients.Count;
        (_round, _weights, _scores, _given) = (round, new double[clients], new double[clients], new double[clients]);
        Begin(info, output, progress, number);
    }

    /// <summary>Gets the tensor's name, shape and type in the global model.</summary>
    public TensorInfo Info { get; private set; }

    /// <summary>Gets the tensor in the output: the same name and shape, possibly another type.</summary>
    public TensorInfo Output { get; private set; }

    /// <summary>Gets the clients in ordinal order of their ids. Verbs number their inputs in this order.</summary>
    public IReadOnlyList<RoundClient> Clients => _round.Clients;

    /// <summary>Gets the clients' weights n_k, all of them multiplied by one power of two.</summary>
    internal ReadOnlySpan<double> Weights => _round.Weights;

    internal Workers Workers => _round.Workers;

    /// <summary>Rents memory for one value of each input and group.</summary>
    internal GroupBuffer NewGroups(int inputs, long groups, bool clear = true) => Workers.Memory.Rent(inputs, groups, clear);

    /// <summary>Adds a client's weight in this tensor, and its score if there is one, to the report.</summary>
    /// <param name="client">The client's index in <see cref="Clients"/>.</param>
    /// <param name="weight">The weight w_k that the client's values are combined with.</param>
    /// <param name="score">The score s_k that the weight was computed from.</param>
    /// <exception cref="ArgumentOutOfRangeException">
    /// <paramref name="client"/> is not an index of <see cref="Clients"/>.
    /// </exception>
    public void ReportWeight(int client, double weight, double? score = null)
    {
        if (client < 0 || client >= Clients.Count)
        {
            throw new ArgumentOutOfRangeException(
                nameof(client), client, $"There is no client with this index; an index from 0 to {Clients.Count - 1} was expected.");
        }

        (_weights[client], _scores[client]) = (weight, score ?? double.NaN);
    }

    /// <summary>
    /// Returns the clients' reported weights, followed by their scores if any client has one. A value that was not
    /// reported is NaN. Returns null if every client's weight is its share and there are no scores.
    /// </summary>
    internal double[]? Reported()
    {
        bool hasScores = _scores.AsSpan().ContainsAnyExcept(double.NaN), byShare = !hasScores;
        for (int k = 0; k < _weights.Length && byShare; k++)
            byShare = _weights[k] == Clients[k].Share;
        return byShare ? null : hasScores ? [.. _weights, .. _scores] : [.. _weights];
    }

    /// <summary>
    /// Writes output = round(sum_k n_k y_k / sum_k n_k), the mean by the clients' weights n_k (McMahan et al. 2017).
    /// </summary>
    public void WeightedMean()
    {
        for (int k = 0; k < Clients.Count; k++)
            ReportWeight(k, Clients[k].Share);
        WeightedSum(_round.Weights, _round.Weights.Sum());
    }

    /// <summary>
    /// Writes output = round(sum_k weights[k] y_k / divisor). The sum and the quotient are float64 and are rounded
    /// once.
    /// </summary>
    /// <param name="weights">One finite weight for each client.</param>
    /// <param name="divisor">A finite number other than 0 that the sum is divided by.</param>
    /// <exception cref="ArgumentException">
    /// The number of weights is not the number of clients, a weight is not finite, or the divisor is 0 or not finite.
    /// </exception>
    public void WeightedSum(ReadOnlySpan<double> weights, double divisor)
    {
        if (weights.Length != Clients.Count)
        {
            throw new ArgumentException(
                $"There {Sentence.Form(weights.Length, "is", "are")} {Sentence.Count(weights.Length, "weight")} for " +
                $"{Sentence.Count(Clients.Count, "client")}; one for each was expected.",
                nameof(weights));
        }

        for (int k = 0; k < weights.Length; k++)
        {
            if (!double.IsFinite(weights[k]))
            {
                throw new ArgumentException(
                    $"The weight of client {Sentence.Quote(Clients[k].Id)} is {Numbers.Invariant(weights[k])}; " +
                    "a finite number was expected.",
                    nameof(weights));
            }
        }

        if (divisor == 0 || !double.IsFinite(divisor))
        {
            throw new ArgumentException(
                $"The divisor is {Numbers.Invariant(divisor)}; a finite number other than 0 was expected.", nameof(divisor));
        }

        weights.CopyTo(_given);
        WritePanels(
            Inputs(UpdateForm.Parameters, withGlobal: false, onDevice: OnDevice), GroupingBy(NormAxis.Tensor, onDevice: OnDevice),
            (_given, divisor),
            static (sum, backend, panels, panel, output) => backend.WeightedSum(panels, sum._given, sum.divisor, panel.Length, output),
            isMean: true);
    }

    /// <summary>
    /// Computes the output element by element from all clients' values of that element. Use it for rules that no fused
    /// verb computes.
    /// </summary>
    /// <remarks>
    /// If a client's value is not finite, the round applies its policy for non-finite values. If all values are finite
    /// and the rule's result is not, the round is refused.
    /// </remarks>
    /// <param name="form">
    /// Whether the rule gets parameters or updates. The result of updates is added to the global model's value.
    /// </param>
    /// <param name="rule">
    /// Gets the clients' values of one element in the order of <see cref="Clients"/>, and returns the result. It may
    /// overwrite the values.
    /// </param>
    public void ForEachElement(UpdateForm form, ElementRule rule)
    {
        ArgumentNullException.ThrowIfNull(rule);
        int clients = Clients.Count;
        PanelReader[] inputs = Inputs(form, withGlobal: form == UpdateForm.Delta);
        long ruleFaults = 0;
        try
        {
            WritePanels(inputs, GroupingBy(NormAxis.Tensor), form, MakePanel);
        }
        catch (NonFiniteOutputException) when (ruleFaults > 0)
        {
            throw new NonFiniteOutputException(
                Info, $"the rule's result is NaN or infinite for {Sentence.Count(ruleFaults, "element")} of finite values.");
        }

        long MakePanel(UpdateForm form, IComputeBackend _, ReadOnlySpan<TensorPanel> panels, Grouping.Panel panel, TensorPanel output)
        {
            Span<double> values = new double[clients];
            long nonFinite = 0;
            _round.Work.AddOnCpu(panels, panel.Length);
            for (int i = 0; i < panel.Length; i++)
            {
                // checked here because a rule may discard the value: a median sorts it to one end
                bool finite = true;
                for (int k = 0; k < clients; k++)
                {
                    values[k] = Rounding.Read(panels[k].Data, panels[k].DType, i);
                    finite &= double.IsFinite(values[k]);
                }

                double result = rule(values);
                if (finite && !double.IsFinite(result))
                    Interlocked.Increment(ref ruleFaults);
                if (form == UpdateForm.Delta)
                    result += Rounding.Read(panels[clients].Data, panels[clients].DType, i);
                Rounding.Write(output.Data, output.DType, i, result);
                if (!finite || !double.IsFinite(Rounding.Read(output.Data, output.DType, i)))
                    nonFinite++;
            }

            return nonFinite;
        }
    }

    /// <summary>Writes the global model's values in the output's type.</summary>
    internal void KeepGlobal()
    {
        if (Output.DType != Info.DType)
        {
            // a value that was not finite in the global model is kept; a finite value that does not fit the type is a
            // fault
            WritePanels([Global], GroupingBy(NormAxis.Tensor), 1.0, static (one, backend, panels, panel, output) =>
            {
                long nonFinite = backend.WeightedSum(panels, [one], 1, panel.Length, output);
                return nonFinite > 0 ? nonFinite - backend.CountNonFinite(panels[0], panel.Length) : 0;
            });
            return;
        }

        _round.Global.CopyTo(_round.Output, Info, Info, _round.Workers.CancellationToken);
    }

    /// <summary>Writes the weighted mean of integers: exact in 128 bits, halves rounded to even.</summary>
    internal void WriteIntegerMean()
    {
        var mean = new IntegerMean(Clients.Select(client => client.Weight));
        int size = Info.DType.BitSize / 8;
        PanelReader[] inputs = Inputs(UpdateForm.Parameters, withGlobal: true, whole: true);
        PanelRuns runs = Runs(inputs, GroupingBy(NormAxis.Tensor).Panels(inputs.Length));
        RunPass(runs.Count, UsesThreads(inputs), last: true, this, (_, piece, scratch) =>
        {
            PanelRun panel = runs[piece];
            ReadOnlySpan<TensorPanel> read = panel.Read(inputs, scratch);
            var output = new TensorPanel(scratch.Take((long)panel.Length * size), Info.DType);
            var values = new Int128[Clients.Count];
            _round.Work.AddOnCpu(read, panel.Length);
            for (int i = 0; i < panel.Length; i++)
            {
                for (int k = 0; k < values.Length; k++)
                {
                    bool isDelta = _round.Participants[k].Kind == UpdateKind.Delta;
                    values[k] = IntegerMean.Read(read[k], i) + (isDelta ? IntegerMean.Read(read[^1], i) : 0);
                }

                if (!IntegerMean.TryWrite(output, i, mean.Of(values)))
                {
                    throw new RoundRejectedException(
                        RoundFault.NonFinite,
                        $"Tensor {Sentence.Quote(Info.Name)}: the mean at element {panel.Start + i} does not fit " +
                        $"{Info.DType.SafetensorsName}.",
                        tensor: Info.Name);
                }
            }

            _round.Output.Write(Output, panel.Start * size, new ReadOnlySpan<byte>(output.Data, panel.Length * size));
            Forget(inputs, panel.Start, panel.Length);
        });
    }

    /// <summary>Measures the norms and cosines that the report shows.</summary>
    internal UpdateStatistics Measure() => UpdateStatistics.Measure(this);

    /// <summary>
    /// Returns the readers of all clients, followed by the global model's reader if asked for. Every call returns the
    /// same arrays.
    /// </summary>
    /// <param name="form">Whether clients are read as parameters or as updates.</param>
    /// <param name="withGlobal">Whether the global model is the last input.</param>
    /// <param name="whole">Whether tensors are read as they were sent, which integers are.</param>
    /// <param name="onDevice">
    /// Whether panels may be in the device's memory, which only the backend's verbs can read.
    /// </param>
    internal PanelReader[] Inputs(UpdateForm form, bool withGlobal, bool whole = false, bool onDevice = false)
    {
        InputSet set = _inputs[(int)form + (onDevice ? 2 : 0)] ??= new InputSet(Clients.Count);
        DensePanelReader global = onDevice ? _globalOnDevice.Open(_round, Info, _number, onDevice: true) : Global;
        for (; set.Opened < Clients.Count; set.Opened++)
        {
            Participant participant = _round.Participants[set.Opened];
            PanelReader? spare = set.Clients[set.Opened];
            PanelReader reader = whole ? participant.OpenWhole(Info, _number, spare)
                : participant.OpenReader(Info, _number, form, global, _round.Backend, spare, onDevice);
            if (reader != spare)
                set.WithGlobal[set.Opened] = set.Clients[set.Opened] = reader;
        }

        if (!withGlobal)
            return set.Clients;
        set.WithGlobal[^1] = global;
        return set.WithGlobal;
    }

    /// <summary>Returns an unrounded combination as the only input of the next verb.</summary>
    internal PanelReader[] Read(Unrounded values)
    {
        ((UnroundedReader)_unrounded[0]).Values = values;
        return _unrounded;
    }

    /// <summary>
    /// Allocates memory for a combination of the inputs in float64, on the device or on the host. Returns null if the
    /// device has no memory left.
    /// </summary>
    internal Unrounded? NewUnrounded(bool onDevice)
    {
        long bytes = Info.ElementCount * sizeof(double);
        if (onDevice)
        {
            IDisposable? memory = _round.Backend.AllocateOnDevice(bytes, out nint address);
            return memory is null ? null : new Unrounded(memory, (void*)address, onDevice: true);
        }

        NativeBuffer buffer = Workers.Memory.Rent(bytes);
        return new Unrounded(buffer, buffer.Pointer, onDevice: false);
    }

    /// <summary>Returns how the tensor is cut into groups and panels.</summary>
    internal Grouping GroupingBy(NormAxis axis, int foldedColumns = Grouping.FoldedColumns, bool onDevice = false)
    {
        if (_groupings.TryGetValue((Info.Shape, axis, foldedColumns, onDevice), out Grouping? grouping))
            return grouping;
        grouping = new Grouping(Info.Shape, axis, foldedColumns, onDevice ? _round.PanelElementsOnDevice : null);
        if (_groupings.Count < KeptGroupings && Info.ElementCount <= KeptElements)
            _groupings.Add((Info.Shape, axis, foldedColumns, onDevice), grouping);
        return grouping;
    }

    /// <summary>Throws if no verb wrote the output: it would keep whatever the memory held before.</summary>
    internal void RequireWritten()
    {
        if (!_written)
        {
            throw new InvalidOperationException(
                $"Strategy {Sentence.Quote(_round.Strategy)} did not write tensor {Sentence.Quote(Info.Name)}: " +
                "one call of a verb that writes the output was expected.");
        }

    }

    /// <summary>
    /// Reads inputs from files into memory if all of them fit the round's budget. Strategies with several passes call
    /// it.
    /// </summary>
    internal void Preload(PanelReader[] inputs)
    {
        long bytes = 0;
        foreach (PanelReader reader in inputs)
            bytes += reader.PreloadBytes;
        if (bytes > 0 && bytes <= _round.PreloadBytes)
        {
            Workers.Run(
                inputs.Length, parallel: true, (inputs, Workers.Memory), static (state, k, _) => state.inputs[k].Preload(state.Memory));
            Forget(inputs, 0, Info.ElementCount);
        }
    }

    /// <summary>Computes the sum of squares of each input in each group: inputs x groups.</summary>
    internal GroupBuffer Squares(PanelReader[] inputs, Grouping grouping)
    {
        int count = inputs.Length;
        // Inputs are independent here, so the CPU takes few at a time: their sums stay in the cache while rows pass,
        // and the tensor is cut into as many segments as keep the threads busy. A device cuts the work itself.
        bool byInput = _round.Backend.Device is null;
        int width = byInput ? Math.Min(SquaresInputs, count) : count;
        List<Grouping.Segment> segments = byInput
            ? grouping.Segments(width, accumulators: count, most: (SquaresPieces + count - 1) / count)
            : grouping.Segments(count, accumulators: count);
        int blocks = (count + width - 1) / width;
        using var partial = new PartialSums(Workers.Memory, grouping, segments, count);
        var pass = (Context: this, inputs, grouping, segments, width, blocks, partial);
        RunPass(segments.Count * blocks, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (TensorContext context, PanelReader[] inputs, Grouping grouping, List<Grouping.Segment> segments, int width, int blocks,
                PartialSums partial) = pass;
            Grouping.Segment segment = segments[piece / blocks];
            int first = piece % blocks * width, last = Math.Min(first + width, inputs.Length);
            ReadOnlySpan<PanelReader> some = inputs.AsSpan(first..last);
            GroupValues sums = partial.Begin(piece / blocks, first, last);
            PanelRuns runs = context.Runs(some, segment.Panels);
            for (int r = 0; r < runs.Count; r++)
            {
                PanelRun run = runs[r];
                scratch.Reset();
                Span<TensorPanel> read = run.Read(some, scratch);
                for (int i = 0; i < run.Count; i++)
                {
                    var sumsOfRun = new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride);
                    context._round.Backend.AddSquares(run.Next(read, i), Geometry(grouping, run[i]), sumsOfRun);
                }
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>Returns readers of the inputs multiplied by a power of two; the inputs themselves if it is 1.</summary>
    internal PanelReader[] Scaled(PanelReader[] inputs, double factor) =>
        factor == 1 ? inputs : Array.ConvertAll(inputs, input => (PanelReader)new ScaledPanelReader(input, factor, _round.Backend));

    /// <summary>
    /// Computes the infinite norms again from scaled values (Blue 1978): their squares overflowed float64. Other norms
    /// stay unchanged.
    /// </summary>
    /// <param name="norms">The norm of each input and group.</param>
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
    /// Computes the inner products of all pairs of inputs in each group in one pass: pairs (in the order of
    /// <see cref="GramPairs"/>) x groups. Returns null if separate passes over the inputs cost less.
    /// </summary>
    internal GroupBuffer? TryGram(PanelReader[] inputs, Grouping grouping)
    {
        if (inputs.Length > _round.Backend.PairInputs)
            return null;
        bool narrow = grouping.GroupsAreColumns && grouping.Groups <= NarrowColumns;
        if (narrow)
        {
            long folded = Math.Max(NarrowFold, grouping.Groups * Grouping.GetRowsOfFullVectors(grouping.Groups));
            grouping = GroupingBy(NormAxis.Columns, (int)folded);
        }

        int pairs = GramPairs.Count(inputs.Length);
        long values = grouping.Elements * inputs.Length, sums = pairs * grouping.FoldedGroups;
        bool isFaster = values >= GramValues || narrow && values >= NarrowValuesPerSum * sums;
        if (!isFaster || sums > Grouping.MaximumAccumulators)
            return null;
        return SumByGroup(inputs, grouping, pairs, grouping, static (grouping, backend, panels, panel, sums) =>
            backend.AddGram(panels, Geometry(grouping, panel), sums));
    }

    /// <summary>
    /// Computes, for each input k, the inner product of a_k x_k with sum_j b_j x_j over the whole tensor.
    /// </summary>
    /// <param name="inputs">The inputs x.</param>
    /// <param name="grouping">The groups.</param>
    /// <param name="a">The coefficient a of each input and group.</param>
    /// <param name="b">The coefficient b of each input and group; may be <paramref name="a"/>.</param>
    /// <param name="dots">Receives one inner product for each input.</param>
    internal void Projections(PanelReader[] inputs, Grouping grouping, GroupBuffer a, GroupBuffer b, Span<double> dots)
    {
        List<Grouping.Panel> panels = grouping.Panels(inputs.Length);
        PanelRuns runs = Runs(inputs, panels);
        // one row for each panel; the rows are added in ascending order, so that threads change no bit
        using GroupBuffer partial = NewGroups(panels.Count, inputs.Length);
        using GroupBuffer? foldedA = Folded(grouping, a), foldedB = ReferenceEquals(a, b) ? null : Folded(grouping, b);
        GroupValues allA = (foldedA ?? a).ToValues(), allB = ReferenceEquals(a, b) ? allA : (foldedB ?? b).ToValues();
        var pass = (_round.Backend, inputs, grouping, runs, allA, allB, partial);
        RunPass(runs.Count, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (IComputeBackend backend, PanelReader[] inputs, Grouping grouping, PanelRuns runs, GroupValues a, GroupValues b,
                GroupBuffer partial) = pass;
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
    /// Computes the sum of squares of sum_k c_k x_k in each group. Also stores the combination itself in float64 if
    /// <paramref name="unrounded"/> is given, which has room for the whole tensor.
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

    /// <summary>
    /// Writes output = round(scale * sum_k c_k x_k), with a coefficient for each input and group and, unless null, a
    /// scale for each group.
    /// </summary>
    internal void Combine(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, GroupBuffer? scales)
    {
        using GroupBuffer? folded = Folded(grouping, coefficients), foldedScales = scales is null ? null : Folded(grouping, scales);
        GroupValues all = (folded ?? coefficients).ToValues(), factors = (foldedScales ?? scales)?.ToValues() ?? default;
        WritePanels(inputs, grouping, (grouping, all, factors), static (sum, backend, panels, panel, output) =>
        {
            double* scales = sum.factors.Data is null ? null : At(sum.factors, panel).Data;
            return backend.Combine(panels, Geometry(sum.grouping, panel), At(sum.all, panel), scales, output, null);
        });
    }

    /// <summary>
    /// Writes output = round(factor * sum_k c_k x_k) of scaled inputs x. The rounding errors of a sum of the unscaled
    /// inputs could exceed the largest float64.
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

    /// <summary>Counts the values of an input that are NaN or infinite.</summary>
    internal long CountNonFinite(PanelReader input) => Count(input, (panel, length, _) => _round.Backend.CountNonFinite(panel, length));

    /// <summary>Counts the finite values of an input that are too large for the output's type.</summary>
    internal long CountTooLarge(PanelReader input) => Count(input, (panel, length, scratch) =>
    {
        var rounded = new TensorPanel(scratch.Take((long)length * Output.DType.BitSize / 8), Output.DType);
        return _round.Backend.WeightedSum([panel], [1], 1, length, rounded) - _round.Backend.CountNonFinite(panel, length);
    });

    private long Count(PanelReader input, Func<TensorPanel, int, Scratch, long> countPanel)
    {
        List<Grouping.Panel> panels = GroupingBy(NormAxis.Tensor).Panels(1);
        long count = 0;
        Workers.Run(panels.Count, UsesThreads([input]), (piece, scratch) =>
        {
            Grouping.Panel panel = panels[piece];
            Interlocked.Add(ref count, countPanel(input.Read(panel.Start, panel.Length, scratch), panel.Length, scratch));
        });
        return count;
    }

    /// <summary>Gets the reader of the global model's tensor.</summary>
    internal DensePanelReader Global => _global.Open(_round, Info, _number, onDevice: false);

    /// <summary>Gets whether the round's tensors are in the memory of the backend's device.</summary>
    internal bool OnDevice => _round.OnDevice;

    /// <summary>Begins a tensor. <see cref="Close"/> has closed the readers of the tensor before.</summary>
    [MemberNotNull(nameof(Info), nameof(Output))]
    private protected void Begin(TensorInfo info, TensorInfo output, ProgressMeter.TensorProgress? progress, int number)
    {
        (Info, Output, _progress, _number, _passes, _written) = (info, output, progress, number, 0, false);
        _weights.AsSpan().Fill(double.NaN);
        _scores.AsSpan().Fill(double.NaN);
    }

    /// <summary>Closes the tensor's readers.</summary>
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

    /// <summary>
    /// A reader of the global model's tensor, on the host or on the device. It is opened when first asked for, and
    /// reused for the next tensor.
    /// </summary>
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

    /// <summary>
    /// The clients' readers in one form, without and with the global model's reader after them. They are reused for the
    /// next tensor.
    /// </summary>
    private sealed class InputSet(int clients)
    {
        public readonly PanelReader[] Clients = new PanelReader[clients], WithGlobal = new PanelReader[clients + 1];
        public int Opened;
    }

    // verbs get their state as an argument, because a closure would be allocated for each tensor
    private delegate long PanelVerb<T>(
        T state, IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, TensorPanel output);

    private void WritePanels<T>(PanelReader[] inputs, Grouping grouping, T state, PanelVerb<T> verb, bool isMean = false)
    {
        if (_written)
        {
            throw new InvalidOperationException(
                $"Strategy {Sentence.Quote(_round.Strategy)} wrote tensor {Sentence.Quote(Info.Name)} twice: " +
                "one call of a verb that writes the output was expected.");
        }

        _written = true;
        PanelRuns runs = Runs(inputs, grouping.Panels(inputs.Length));
        var writer = new PanelWriter(_round.Output, Output, onDevice: _round.WritesOnDevice && inputs[0].IsOnDevice);
        _nonFinite = 0;
        var pass = (Context: this, inputs, runs, writer, state, verb);
        RunPass(runs.Count, UsesThreads(inputs), last: true, pass, static (pass, piece, scratch) =>
        {
            (TensorContext context, PanelReader[] inputs, PanelRuns runs, PanelWriter writer, T state, PanelVerb<T> verb) = pass;
            PanelRun run = runs[piece];
            Span<TensorPanel> read = run.Read(inputs, scratch);
            TensorPanel output = writer.Begin(run.Start, run.Length, scratch);
            long nonFinite = 0;
            for (int i = 0; i < run.Count; i++)
                nonFinite += verb(state, context._round.Backend, run.Next(read, i), run[i], output.From(run[i].Start - run.Start));
            if (nonFinite == 0)
                writer.End(output, run.Start, run.Length);
            else
                Interlocked.Add(ref context._nonFinite, nonFinite);
            context.Forget(inputs, run.Start, run.Length);
        });
        if (_nonFinite is not 0 and var found)
            throw new NonFiniteOutputException(Info, DescribeNonFinite(found, isMean));
    }

    /// <summary>
    /// Describes results that are not finite. A mean like that does not fit its type. Other results may themselves be
    /// finite, and only a step on the way to them is not.
    /// </summary>
    private string DescribeNonFinite(long count, bool isMean)
    {
        string fault = $"{Sentence.Count(count, "result")} {Sentence.Form(count, "is", "are")} not finite, from finite inputs;";
        return isMean || Output.DType != DType.F64
            ? $"{fault} {Sentence.Form(count, "it does", "they do")} not fit {Output.DType.SafetensorsName}."
            : $"{fault} {Sentence.Form(count, "it, or a step on the way to it, is", "they, or steps on the way to them, are")} " +
              "too large for F64.";
    }

    private delegate void GroupVerb<T>(
        T state, IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, GroupValues sums);

    /// <summary>
    /// Computes <paramref name="accumulators"/> sums of each group from all inputs: first by segment, then over the
    /// segments.
    /// </summary>
    private GroupBuffer SumByGroup<T>(PanelReader[] inputs, Grouping grouping, int accumulators, T state, GroupVerb<T> verb)
    {
        List<Grouping.Segment> segments = grouping.Segments(inputs.Length, accumulators);
        bool joined = grouping.GroupsAreColumns && Array.TrueForAll(inputs, static input => input.IsInMemory);
        using var partial = new PartialSums(Workers.Memory, grouping, segments, accumulators);
        var pass = (Context: this, inputs, segments, joined, partial, state, verb);
        RunPass(segments.Count, UsesThreads(inputs), last: false, pass, static (pass, piece, scratch) =>
        {
            (TensorContext context, PanelReader[] inputs, List<Grouping.Segment> segments, bool joined, PartialSums partial, T state,
                GroupVerb<T> verb) = pass;
            Grouping.Segment segment = segments[piece];
            GroupValues sums = partial.Begin(piece);
            PanelRuns runs = context.Runs(inputs, joined ? segment.Joined : segment.Panels);
            for (int r = 0; r < runs.Count; r++)
            {
                PanelRun run = runs[r];
                scratch.Reset();
                Span<TensorPanel> read = run.Read(inputs, scratch);
                for (int i = 0; i < run.Count; i++)
                {
                    var sumsOfRun = new GroupValues(sums.Data + (run[i].Group - segment.Group), sums.Stride);
                    verb(state, context._round.Backend, run.Next(read, i), run[i], sumsOfRun);
                }
            }
        });
        return partial.Merge(Workers);
    }

    /// <summary>
    /// Runs the pieces of one pass over the inputs and reports its progress. The last pass writes the output.
    /// </summary>
    private void RunPass<T>(int pieces, bool parallel, bool last, T state, Action<T, int, Scratch> piece)
    {
        if (_passes++ > 0)
            _round.ReadAhead?.Begin(_number + 1);
        if (_progress is null)
        {
            Workers.Run(pieces, parallel, state, piece);
            return;
        }

        _progress.BeginPass(pieces, last);
        Workers.Run(pieces, parallel, (state, piece, _progress), static (pass, i, scratch) =>
        {
            pass.piece(pass.state, i, scratch);
            pass._progress.EndPiece();
        });
    }

    private bool UsesThreads(PanelReader[] inputs) => Info.ElementCount * inputs.Length >= Workers.WorthThreads;

    private PanelRuns Runs(ReadOnlySpan<PanelReader> inputs, List<Grouping.Panel> panels) =>
        PanelRun.Cut(panels, inputs, Info.ElementCount, Workers.Threads);

    /// <summary>Tells the inputs of a round larger than memory that these elements will not be read again.</summary>
    private void Forget(PanelReader[] inputs, long start, long count)
    {
        for (int k = 0; k < inputs.Length && _round.LargerThanMemory; k++)
            inputs[k].Forget(start, count);
    }

    private static PanelGeometry Geometry(Grouping grouping, Grouping.Panel panel) =>
        new(panel.Rows, panel.Columns, grouping.GroupsAreColumns);

    private static GroupValues At(GroupValues values, Grouping.Panel panel) => new(values.Data + panel.Group, values.Stride);

    /// <summary>Repeats each group's value for its folded copies; null if the grouping folds nothing.</summary>
    private GroupBuffer? Folded(Grouping grouping, GroupBuffer values)
    {
        if (grouping.Fold == 1)
            return null;
        var folded = NewGroups(values.Inputs, grouping.FoldedGroups, clear: false);
        int groups = (int)grouping.Groups;
        for (int k = 0; k < values.Inputs; k++)
        {
            // each step doubles the number of copies
            Span<double> row = folded[k];
            values[k].CopyTo(row);
            for (int done = groups; done < row.Length; done *= 2)
                row[..Math.Min(done, row.Length - done)].CopyTo(row[done..]);
        }

        return folded;
    }
}
