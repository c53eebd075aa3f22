using System.Buffers;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Text;

namespace FedICU.Panels;

internal sealed unsafe partial class TensorPasses
{
    // elements of a tile that the server's steps work on at a time, while the first-level cache holds it: measured
    private const int TileElements = 1024;

    private long _nonFinite;

    /// <summary>Gets the backend of work that stays on the CPU, whatever the verbs run on.</summary>
    public static SimdBackend Cpu { get; } = new();

    /// <summary>
    /// Gets or sets what happens to merged values before they are rounded; null rounds them at once.
    /// </summary>
    public PanelFinish? Finish { get; set; }

    /// <summary>Gets the most elements of a tile; a device cuts its work itself.</summary>
    public int LargestTile => Backend.Device is null ? TileElements : int.MaxValue;

    /// <summary>Gets whether a verb wrote the output.</summary>
    public bool IsWritten { get; private set; }

    /// <summary>Throws if no verb wrote the output: it would keep whatever the memory held before.</summary>
    public void RequireWritten()
    {
        if (!IsWritten)
        {
            throw new InvalidOperationException(
                $"Strategy {Sentence.Quote(settings.Strategy)} did not write tensor {Sentence.Quote(Info.Name)}: " +
                "one call of a verb that writes the output was expected.");
        }
    }

    /// <summary>Refuses further verbs that write, until the next tensor begins.</summary>
    public void Close() => IsWritten = true;

    /// <summary>Writes output = round(sum_k weights[k] x_k / divisor).</summary>
    public void WeightedSum(PanelReader[] inputs, bool onDevice, double[] weights, double divisor) => WritePanels(
        inputs, GroupingBy(NormAxis.Tensor, onDevice: onDevice), (weights, divisor),
        static (sum, backend, panels, panel, output) => backend.WeightedSum(panels, sum.weights, sum.divisor, panel.Length, output),
        isMean: true);

    /// <summary>
    /// Writes output = round(scale * sum_k c_k x_k), with a coefficient for each input and group and, unless null, a
    /// scale for each group.
    /// </summary>
    public void Combine(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, GroupBuffer? scales)
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
    public void CombineScaled(PanelReader[] inputs, Grouping grouping, GroupBuffer coefficients, double factor)
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

    /// <summary>Writes output = round(mean of the values without the trim smallest and the trim largest).</summary>
    public void MiddleMean(PanelReader[] inputs, int trim) => WritePanels(
        inputs, GroupingBy(NormAxis.Tensor), trim,
        static (trim, backend, panels, panel, output) => backend.MiddleMean(panels, trim, panel.Length, output));

    /// <summary>Writes the output element by element from all inputs' values of that element.</summary>
    /// <param name="inputs">The inputs.</param>
    /// <param name="values">
    /// The number of inputs that the rule gets: all, or all but the global model after them.
    /// </param>
    /// <param name="rule">Computes the output element; added to the global model's value if that is an input.</param>
    public void ForEachElement(PanelReader[] inputs, int values, ElementRule rule)
    {
        long ruleFaults = 0;
        try
        {
            WritePanels(inputs, GroupingBy(NormAxis.Tensor), rule, WritePanel);
        }
        catch (NonFiniteOutputException) when (ruleFaults > 0)
        {
            throw new NonFiniteOutputException(
                Info, $"the rule's result is NaN or infinite for {Sentence.Count(ruleFaults, "element")} of finite values.");
        }

        long WritePanel(ElementRule rule, IComputeBackend _, ReadOnlySpan<TensorPanel> panels, Grouping.Panel panel, TensorPanel output)
        {
            Span<double> ofElement = new double[values];
            long nonFinite = 0;
            settings.Work.AddOnCpu(panels, panel.Length);
            for (int i = 0; i < panel.Length; i++)
            {
                // checked here because a rule may discard the value: a median sorts it to one end
                bool finite = true;
                for (int k = 0; k < values; k++)
                {
                    ofElement[k] = Rounding.Read(panels[k].Data, panels[k].DType, i);
                    finite &= double.IsFinite(ofElement[k]);
                }

                double result = rule(ofElement);
                if (finite && !double.IsFinite(result))
                    Interlocked.Increment(ref ruleFaults);
                if (values < panels.Length)
                    result += Rounding.Read(panels[values].Data, panels[values].DType, i);
                Rounding.Write(output.Data, output.DType, i, result);
                if (!finite || !double.IsFinite(Rounding.Read(output.Data, output.DType, i)))
                    nonFinite++;
            }

            return nonFinite;
        }
    }

    /// <summary>
    /// Writes one input in the output's type. A value that was not finite is kept; a finite value that does not fit the
    /// type is a fault.
    /// </summary>
    public void Convert(PanelReader input) =>
        WritePanels([input], GroupingBy(NormAxis.Tensor), 1.0, static (one, backend, panels, panel, output) =>
        {
            long nonFinite = backend.WeightedSum(panels, [one], 1, panel.Length, output);
            return nonFinite > 0 ? nonFinite - backend.CountNonFinite(panels[0], panel.Length) : 0;
        });

    /// <summary>Writes the weighted mean of integers: exact in 128 bits, halves rounded to even.</summary>
    /// <param name="inputs">The clients' inputs as they were sent, followed by the global model's.</param>
    /// <param name="weights">The clients' weights.</param>
    /// <param name="isDelta">Whether the client with an index sent a difference to the global model.</param>
    public void WriteIntegerMean(PanelReader[] inputs, IEnumerable<double> weights, Func<int, bool> isDelta)
    {
        var mean = new IntegerMean(weights);
        int size = Info.DType.BitSize / 8;
        PanelRuns runs = Runs(inputs, GroupingBy(NormAxis.Tensor).Panels(inputs.Length));
        RunPass(runs.Count, UsesThreads(inputs), last: true, this, (_, piece, scratch) =>
        {
            PanelRun panel = runs[piece];
            ReadOnlySpan<TensorPanel> read = panel.Read(inputs, scratch);
            var output = new TensorPanel(scratch.Take((long)panel.Length * size), Info.DType);
            var values = new Int128[inputs.Length - 1];
            settings.Work.AddOnCpu(read, panel.Length);
            for (int i = 0; i < panel.Length; i++)
            {
                for (int k = 0; k < values.Length; k++)
                    values[k] = IntegerMean.Read(read[k], i) + (isDelta(k) ? IntegerMean.Read(read[^1], i) : 0);
                if (!IntegerMean.TryWrite(output, i, mean.Of(values)))
                {
                    throw new RoundRejectedException(
                        RoundFault.NonFinite,
                        $"Tensor {Sentence.Quote(Info.Name)}: the mean at element {panel.Start + i} does not fit " +
                        $"{Info.DType.SafetensorsName}.",
                        tensor: Info.Name);
                }
            }

            settings.Output.Write(Output, panel.Start * size, new ReadOnlySpan<byte>(output.Data, panel.Length * size));
            Forget(inputs, panel.Start, panel.Length);
        });
    }

    // verbs get their state as an argument, because a closure would be allocated for each tensor
    private delegate long PanelVerb<T>(
        T state, IComputeBackend backend, ReadOnlySpan<TensorPanel> inputs, Grouping.Panel panel, TensorPanel output);

    private void WritePanels<T>(PanelReader[] inputs, Grouping grouping, T state, PanelVerb<T> verb, bool isMean = false)
    {
        if (IsWritten)
        {
            throw new InvalidOperationException(
                $"Strategy {Sentence.Quote(settings.Strategy)} wrote tensor {Sentence.Quote(Info.Name)} twice: " +
                "one call of a verb that writes the output was expected.");
        }

        IsWritten = true;
        PanelRuns runs = Runs(inputs, grouping.Panels(inputs.Length));
        bool onDevice = settings.WritesOnDevice && inputs[0].IsOnDevice && Finish is null;
        var writer = new PanelWriter(settings.Output, Output, onDevice);
        _nonFinite = 0;
        var pass = (Passes: this, inputs, grouping, runs, writer, state, verb);
        RunPass(runs.Count, UsesThreads(inputs), last: true, pass, static (pass, piece, scratch) =>
        {
            (TensorPasses passes, PanelReader[] inputs, Grouping grouping, PanelRuns runs, PanelWriter writer, T state, PanelVerb<T> verb) =
                pass;
            PanelRun run = runs[piece];
            Span<TensorPanel> read = run.Read(inputs, scratch);
            TensorPanel output = writer.Begin(run.Start, run.Length, scratch);
            long nonFinite = 0;
            if (passes.Finish is { } finish)
                nonFinite = passes.FinishRun(finish, run, read, grouping, output, scratch, state, verb);
            for (int i = 0; i < run.Count && passes.Finish is null; i++)
                nonFinite += verb(state, passes.Backend, run.Next(read, i), run[i], output.From(run[i].Start - run.Start));
            if (nonFinite == 0)
                writer.End(output, run.Start, run.Length);
            else
                Interlocked.Add(ref passes._nonFinite, nonFinite);
            passes.Forget(inputs, run.Start, run.Length);
        });
        if (_nonFinite is not 0 and var found)
            throw new NonFiniteOutputException(Info, DescribeNonFinite(found, isMean));
    }

    /// <summary>
    /// Merges and finishes a run tile by tile. Verbs that write are element-wise, so tiles change no bit.
    /// </summary>
    private long FinishRun<T>(
        PanelFinish finish, PanelRun run, Span<TensorPanel> read, Grouping grouping, TensorPanel output, Scratch scratch, T state,
        PanelVerb<T> verb)
    {
        int most = LargestTile;
        PanelFinish.Panel finishing = finish.Begin(run.Start, run.Length, scratch);
        double* merged = (double*)scratch.Take((long)Math.Min(run.Length, most) * sizeof(double));
        var inputs = new Span<TensorPanel>(scratch.Take(read.Length * sizeof(TensorPanel)), read.Length);
        long nonFinite = 0;
        for (int i = 0; i < run.Count; i++)
        {
            read = run.Next(read, i);
            foreach (Grouping.Panel tile in run[i].Cut(most, grouping.GroupsAreColumns))
            {
                for (int k = 0; k < read.Length; k++)
                    inputs[k] = read[k].From(tile.Start - run[i].Start);
                nonFinite += verb(state, Backend, inputs, tile, new TensorPanel(merged, DType.F64));
                nonFinite += finishing.Finish(merged, tile.Start, tile.Length, output.From(tile.Start - run.Start));
            }
        }

        finishing.End();
        return nonFinite;
    }

    /// <summary>
    /// Describes results that are not finite. A mean like that does not fit its type. Other results may themselves be
    /// finite, and only a step on the way to them is not.
    /// </summary>
    private string DescribeNonFinite(long count, bool isMean)
    {
        string fault = $"{Sentence.Count(count, "result")} {Sentence.Form(count, "is", "are")} not finite, from finite inputs;";
        if (Finish is not null)
            return $"{fault} a server step or its state is too large for its type, or undefined.";
        return isMean || Output.DType != DType.F64
            ? $"{fault} {Sentence.Form(count, "it does", "they do")} not fit {Output.DType.SafetensorsName}."
            : $"{fault} {Sentence.Form(count, "it, or a step on the way to it, is", "they, or steps on the way to them, are")} " +
              "too large for F64.";
    }
}
