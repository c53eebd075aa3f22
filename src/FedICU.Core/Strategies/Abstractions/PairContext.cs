using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Rounds;
using FedICU.Rounds.Checks;
using FedICU.Text;

namespace FedICU.Strategies.Abstractions;

/// <summary>
/// One LoRA pair of a round as a merge sees it: the clients' factors in float64, and the memory of the factors that are
/// written. One thread uses it.
/// </summary>
internal sealed unsafe class PairContext : IDisposable
{
    // elements that are read at a time: chosen, they fit in the second-level cache
    private const int PieceElements = 1 << 16;

    // elements of a row that a verb takes at once: chosen, any number that an int holds
    private const int LongestRow = 1 << 28;

    // rows of a Gram matrix: derived, each pair of them has 16 partial sums, whose number must fit an int
    private const int MaximumGramRows = 16_383;

    private readonly RoundRun _run;
    private readonly OpenTensorContext _a, _b;
    private readonly Scratch _scratch;
    private readonly Scratch _pieces = new(), _blocks = new();
    private readonly PanelReader[] _inputsA, _inputsB;

    /// <param name="run">The run, on one thread.</param>
    /// <param name="pair">The global model's pair.</param>
    /// <param name="forms">The ranks and scalings of the run's clients.</param>
    /// <param name="written">The rank and scaling that are written.</param>
    /// <param name="transforms">Change the updates before they are read.</param>
    /// <param name="scratch">Memory that is valid as long as the context.</param>
    public PairContext(
        RoundRun run, LoraPair pair, PairForm[] forms, PairForm written, IReadOnlyList<UpdateTransform> transforms, Scratch scratch)
    {
        (_run, Pair, Forms, Written, _scratch) = (run, pair, forms, written, scratch);
        Backend = run.Settings.Backend.Device is null ? run.Settings.Backend : TensorPasses.Cpu;
        (_a, _b) = (new OpenTensorContext(run, pair.A, pair.A), new OpenTensorContext(run, pair.B, pair.B));
        _a.Prepare(transforms);
        _b.Prepare(transforms);
        (_inputsA, _inputsB) = (_a.Inputs(UpdateForm.Parameters, false), _b.Inputs(UpdateForm.Parameters, false));
        double total = run.Weights.Sum();
        Weights = [.. run.Weights.Select(weight => weight / total)];
    }

    /// <summary>The global model's pair.</summary>
    public LoraPair Pair { get; }

    /// <summary>The ranks and scalings of the clients' pairs, in the order of the plan's clients.</summary>
    public IReadOnlyList<PairForm> Forms { get; }

    /// <summary>The rank and the scaling of the pair that is written.</summary>
    public PairForm Written { get; }

    /// <summary>The scaling of pairs that state none; null if none was given.</summary>
    public double? LoraScaling { get; init; }

    /// <summary>The clients' weights, as weightings left them.</summary>
    public IReadOnlyList<double> MergeWeights => _run.Weights;

    /// <summary>The clients' weights w_k in the mean; their sum is 1.</summary>
    public IReadOnlyList<double> Weights { get; }

    public RoundPlan Plan => _run.Plan;

    public int Clients => Forms.Count;

    /// <summary>The sum of the clients' ranks.</summary>
    public int StackedRank => checked((int)Forms.Sum(form => form.Rank));

    /// <summary>Computes verbs on the CPU.</summary>
    public IComputeBackend Backend { get; }

    public Workers Workers => _run.Settings.Workers;

    public CancellationToken CancellationToken => _run.Settings.Workers.CancellationToken;

    /// <summary>The memory of the written A, in the output's type; without data while nothing is written.</summary>
    public TensorPanel OutputA { get; init; }

    /// <summary>The memory of the written B, in the output's type.</summary>
    public TensorPanel OutputB { get; init; }

    /// <summary>The contexts of both tensors, for their reports.</summary>
    public (OpenTensorContext A, OpenTensorContext B) Tensors => (_a, _b);

    /// <summary>The models that are written beside the output; null if there are none.</summary>
    public PairOutputs? Outputs { get; init; }

    /// <summary>The error of the written product; null if the rule did not report it.</summary>
    public PairError? Error { get; private set; }

    /// <summary>Reports the norms of W - s B A and of W.</summary>
    public void ReportError(double error, double norm) => Error = new PairError(error, norm);

    /// <summary>Reports the weight of a client in this pair.</summary>
    public void ReportWeight(int client, double weight)
    {
        _a.ReportWeight(client, weight);
        _b.ReportWeight(client, weight);
    }

    /// <summary>Takes memory for values of float64, not cleared.</summary>
    public double* Take(long count) => (double*)_scratch.Take(Math.Max(count, 1) * sizeof(double));

    /// <summary>Takes memory for a matrix of zeros.</summary>
    public double* TakeZeros(long count)
    {
        double* taken = Take(count);
        for (long at = 0; at < count; at += PieceElements)
            new Span<double>(taken + at, (int)Math.Min(PieceElements, count - at)).Clear();
        return taken;
    }

    /// <summary>Writes factor * A_k: a row of in values for each rank.</summary>
    public void ReadA(int client, double factor, double* rows) =>
        Convert(_inputsA[client], _a.Info, Forms[client].Rank * Pair.Inputs, factor, new TensorPanel(rows, DType.F64));

    /// <summary>Writes factor * B_k transposed: a row of out values for each rank.</summary>
    public void ReadColumnsOfB(int client, double factor, double* columns)
    {
        long rank = Forms[client].Rank, blockRows = Math.Max(PieceElements / rank, 1);
        double* wide = (double*)_blocks.Take(blockRows * rank * sizeof(double));
        for (long row = 0; row < Pair.Outputs; row += blockRows)
        {
            long rows = Math.Min(blockRows, Pair.Outputs - row);
            Convert(_inputsB[client], _b.Info, row * rank, rows * rank, factor, new TensorPanel(wide, DType.F64));
            MatrixTranspose.Run(wide, rows, rank, columns + row, Pair.Outputs, CancellationToken);
        }

        _blocks.Reset();
    }

    /// <summary>Writes factor * A_k in the output's type, rounded once.</summary>
    public void CopyA(int client, double factor, TensorPanel rows) =>
        Convert(_inputsA[client], _a.Info, Forms[client].Rank * Pair.Inputs, factor, rows);

    /// <summary>
    /// Writes all clients' B side by side in the output's type, rounded once: [out, written rank]. Blocks of rows stay
    /// in the cache until all columns are in them.
    /// </summary>
    /// <param name="withGlobal">Whether the global model's B comes first.</param>
    public void StackColumnsOfB(bool withGlobal)
    {
        List<(PanelReader Reader, long Rank)> parts = [.. _inputsB.Zip(Forms, (reader, form) => (reader, form.Rank))];
        if (withGlobal)
            parts.Insert(0, (_b.Global, Pair.Rank));
        long stacked = Written.Rank, blockRows = Math.Max(PieceElements / stacked, 1);
        int size = OutputB.DType.BitSize / 8;
        var columns = new TensorPanel(Take(blockRows * parts.Max(part => part.Rank)), OutputB.DType);
        for (long row = 0; row < Pair.Outputs; row += blockRows)
        {
            long rows = Math.Min(blockRows, Pair.Outputs - row), column = 0;
            foreach ((PanelReader reader, long rank) in parts)
            {
                Convert(reader, _b.Info, row * rank, rows * rank, 1, columns);
                byte* target = (byte*)OutputB.Data + (row * stacked + column) * size;
                RowCopy.Run((byte*)columns.Data, rows, rank * size, target, stacked * size);
                column += rank;
            }
        }
    }

    /// <summary>Writes factor * the global model's A in the output's type.</summary>
    public void CopyGlobalA(double factor = 1) => Convert(_a.Global, _a.Info, Pair.Rank * Pair.Inputs, factor, OutputA);

    /// <summary>Writes the weighted mean of the clients' A, which have the global model's rank.</summary>
    public void WriteMeanOfA() => Mean(_inputsA, _a.Info, OutputA);

    /// <summary>Writes the weighted mean of the clients' B, which have the global model's rank.</summary>
    public void WriteMeanOfB() => Mean(_inputsB, _b.Info, OutputB);

    /// <summary>Reads the global model's A as float64.</summary>
    public void ReadGlobalA(double* rows) =>
        Convert(_a.Global, _a.Info, Pair.Rank * Pair.Inputs, 1, new TensorPanel(rows, DType.F64));

    /// <summary>
    /// Writes all clients' rows of A below each other, each client's multiplied by a factor: [stacked rank, in].
    /// </summary>
    public double* StackA(Func<int, double> factorOf)
    {
        double* rows = Take(StackedRank * Pair.Inputs);
        StackA(factorOf, rows);
        return rows;
    }

    /// <summary>
    /// Writes all clients' columns of B as rows below each other, each client's multiplied by a factor: [stacked rank,
    /// out].
    /// </summary>
    public double* StackB(Func<int, double> factorOf)
    {
        double* columns = Take(StackedRank * Pair.Outputs);
        StackB(factorOf, columns);
        return columns;
    }

    /// <summary>Writes <see cref="StackA(Func{int, double})"/> to memory that was taken.</summary>
    public void StackA(Func<int, double> factorOf, double* rows)
    {
        for (int k = 0, row = 0; k < Clients; row += (int)Forms[k++].Rank)
            ReadA(k, factorOf(k), rows + row * Pair.Inputs);
    }

    /// <summary>Writes <see cref="StackB(Func{int, double})"/> to memory that was taken.</summary>
    public void StackB(Func<int, double> factorOf, double* columns)
    {
        for (int k = 0, row = 0; k < Clients; row += (int)Forms[k++].Rank)
            ReadColumnsOfB(k, factorOf(k), columns + row * Pair.Outputs);
    }

    /// <summary>Rounds A, given as rows of in values, to the output's type.</summary>
    public void WriteA(double* rows) => Round(_a.Info, rows, Written.Rank * Pair.Inputs, OutputA);

    /// <summary>Rounds B, given as rows of out values, one for each rank, to the output's type.</summary>
    public void WriteColumnsOfB(double* columns)
    {
        double* wide = Take(Written.Rank * Pair.Outputs);
        MatrixTranspose.Run(columns, Written.Rank, Pair.Outputs, wide, CancellationToken);
        Round(_b.Info, wide, Written.Rank * Pair.Outputs, OutputB);
    }

    /// <summary>Writes sum_i weights[i] rows[i], in float64.</summary>
    public void Combine(TensorPanel[] rows, double[] weights, long length, double* output)
    {
        var parts = new TensorPanel[rows.Length];
        for (long start = 0; start < length; start += LongestRow)
        {
            for (int i = 0; i < rows.Length; i++)
                parts[i] = At(rows[i], start);
            int count = (int)Math.Min(LongestRow, length - start);
            if (Backend.WeightedSum(parts, weights, 1, count, new TensorPanel(output + start, DType.F64)) > 0)
                throw TooLarge();
        }
    }

    /// <summary>
    /// Computes the inner products of all pairs of rows: a symmetric matrix of the order of their number.
    /// </summary>
    /// <exception cref="RoundRejectedException">There are too many rows.</exception>
    public double[] ComputeGram(double* rows, int count, long length)
    {
        RequireRows(count, MaximumGramRows);
        double* sums = TakeZeros(GramPairs.Count(count));
        var panels = new TensorPanel[count];
        for (long start = 0; start < length; start += LongestRow)
        {
            CancellationToken.ThrowIfCancellationRequested();
            for (int i = 0; i < count; i++)
                panels[i] = new TensorPanel(rows + i * length + start, DType.F64);
            var geometry = new PanelGeometry(1, (int)Math.Min(LongestRow, length - start), GroupsAreColumns: false);
            Backend.AddGram(panels, geometry, new GroupValues(sums, 1));
        }

        double[] gram = new double[count * count];
        for (int i = 0; i < count; i++)
        {
            for (int j = 0; j <= i; j++)
                gram[i * count + j] = gram[j * count + i] = sums[GramPairs.Index(j, i)];
        }

        return gram;
    }

    /// <summary>Refuses more rows than the matrices of a computation can have.</summary>
    public void RequireRows(int count, long most)
    {
        if (count > most)
        {
            throw RoundCheck.CreateRefusal(
                $"The ranks of the LoRA pair {Sentence.Quote(Pair.Module)} add up to {count}; at most {most} was expected.");
        }
    }

    /// <summary>Returns the panel that begins at an element of another.</summary>
    public static TensorPanel At(TensorPanel panel, long element) =>
        new((byte*)panel.Data + element * (panel.DType.BitSize / 8), panel.DType);

    /// <summary>Creates the exception of a product whose numbers are too large for float64.</summary>
    public NonFiniteOutputException TooLarge() =>
        new(_b.Info, $"the products of its LoRA pair {Sentence.Quote(Pair.Module)} are not finite, from finite factors: " +
            "they are too large.");

    public void Dispose()
    {
        _a.Dispose();
        _b.Dispose();
        _pieces.Dispose();
        _blocks.Dispose();
    }

    private static NonFiniteOutputException NotFinite(TensorInfo tensor, DType dtype) =>
        new(tensor, $"a value of its LoRA pair is NaN, infinite or too large for {dtype.SafetensorsName}.");

    private void Round(TensorInfo tensor, double* values, long count, TensorPanel output)
    {
        for (long start = 0; start < count; start += PieceElements)
        {
            int length = (int)Math.Min(PieceElements, count - start);
            if (Backend.WeightedSum([new TensorPanel(values + start, DType.F64)], [1], 1, length, At(output, start)) > 0)
                throw NotFinite(tensor, output.DType);
        }
    }

    private void Mean(PanelReader[] inputs, TensorInfo tensor, TensorPanel output)
    {
        double total = 0;
        foreach (double weight in _run.Weights)
            total += weight;
        for (int k = 0; k < Clients; k++)
            ReportWeight(k, Weights[k]);
        var panels = new TensorPanel[inputs.Length];
        int piece = Math.Max(PieceElements / (inputs.Length + 1), 64);
        for (long start = 0; start < tensor.ElementCount; start += piece)
        {
            CancellationToken.ThrowIfCancellationRequested();
            _pieces.Reset();
            int length = (int)Math.Min(piece, tensor.ElementCount - start);
            for (int k = 0; k < panels.Length; k++)
                panels[k] = inputs[k].Read(start, length, _pieces);
            if (Backend.WeightedSum(panels, _run.Weights, total, length, At(output, start)) > 0)
                throw NotFinite(tensor, output.DType);
        }
    }

    private void Convert(PanelReader input, TensorInfo tensor, long count, double factor, TensorPanel output) =>
        Convert(input, tensor, 0, count, factor, output);

    private void Convert(PanelReader input, TensorInfo tensor, long first, long count, double factor, TensorPanel output)
    {
        for (long start = 0; start < count; start += PieceElements)
        {
            CancellationToken.ThrowIfCancellationRequested();
            _pieces.Reset();
            int length = (int)Math.Min(PieceElements, count - start);
            if (Backend.WeightedSum([input.Read(first + start, length, _pieces)], [factor], 1, length, At(output, start)) > 0)
                throw NotFinite(tensor, output.DType);
        }
    }
}
