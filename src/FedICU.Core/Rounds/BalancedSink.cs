using FedICU.Compute;

namespace FedICU;

/// <summary>
/// Holds LoRA's factors back and writes others of the same product B A in the end: B T and T^-1 A with (B T)^T (B T) = (T^-1 A) (T^-1 A)^T = diag(s), s the singular values of B A. All else passes through.
/// </summary>
/// <remarks>
/// T comes from the Gram matrices alone, rank by rank: G_B = U L U^T, (L^1/2 U^T) G_A (L^1/2 U^T)^T = W S^2 W^T, T = U L^-1/2 W S^1/2. Directions u with B u = 0 stay as they are, B's zero and A's u^T A:
/// balanced they would be zero in both factors, and no training could leave that.
/// </remarks>
internal sealed unsafe class BalancedSink(TensorSink output) : TensorSink
{
    // of Gram matrices in float64, smaller shares of the largest eigenvalue are rounding
    private const double Zero = 1e-14;

    private readonly Dictionary<string, NativeBuffer> _held = new(StringComparer.Ordinal);
    private List<LoraPair> _pairs = [];

    internal override (string Path, bool IsFolder)? Place => output.Place;

    public override void Begin(IReadOnlyList<TensorInfo> tensors, IReadOnlyDictionary<string, string> metadata)
    {
        _pairs = [.. LoraPair.Find(tensors).Where(pair => pair.A.DType.IsComputed && pair.B.DType.IsComputed)];
        try
        {
            foreach (TensorInfo factor in _pairs.SelectMany(pair => (TensorInfo[])[pair.A, pair.B]))
                _held.Add(factor.Name, new NativeBuffer(factor.ByteLength));
            output.Begin(tensors, metadata);
        }
        catch
        {
            Free();
            throw;
        }
    }

    public override void Write(TensorInfo tensor, long offset, ReadOnlySpan<byte> source)
    {
        if (_held.TryGetValue(tensor.Name, out NativeBuffer? held))
            source.CopyTo(new Span<byte>(held.Pointer + offset, source.Length));
        else
            output.Write(tensor, offset, source);
    }

    public override void* TryGetPointer(TensorInfo tensor) => _held.TryGetValue(tensor.Name, out NativeBuffer? held) ? held.Pointer : output.TryGetPointer(tensor);

    /// <summary>Balances all pairs, side by side, and writes them.</summary>
    public void Balance(Workers workers, IComputeBackend backend) => workers.Run(_pairs.Count, parallel: true, (i, scratch) => Balance(_pairs[i], backend, scratch));

    public override void Commit()
    {
        output.Commit();
        Free();
    }

    public override void Abort()
    {
        output.Abort();
        Free();
    }

    private void Free()
    {
        foreach (NativeBuffer held in _held.Values)
            held.Dispose();
        _held.Clear();
    }

    private void Balance(LoraPair pair, IComputeBackend backend, Scratch scratch)
    {
        (int rank, int inputs, int outputs) = ((int)pair.Rank, (int)pair.A.Shape.Dimensions[1], (int)pair.B.Shape.Dimensions[0]);
        TensorPanel a = Held(pair.A), b = Held(pair.B);
        // B's columns as rows
        double* columns = Take(pair.B.ElementCount), turned = Take(pair.B.ElementCount);
        backend.WeightedSum([b], [1], 1, rank * outputs, new TensorPanel(columns, DType.F64));
        Transpose(columns, outputs, rank, turned);
        TensorPanel[] rowsOfA = Rows(a, inputs), rowsOfB = Rows(new TensorPanel(turned, DType.F64), outputs);
        (double[] gramOfB, double[] gramOfA) = (Gram(rowsOfB, outputs), Gram(rowsOfA, inputs));
        if (gramOfB.Concat(gramOfA).Any(product => !double.IsFinite(product)))
        {
            // factors that were kept may hold anything
            WriteHeld(pair.A);
            WriteHeld(pair.B);
            return;
        }

        (double[] toB, double[] toA) = Bases(gramOfB, gramOfA, rank);
        var made = new TensorPanel(scratch.Take(pair.A.ByteLength), pair.A.DType);
        Mix(toA, rowsOfA, Rows(made, inputs), inputs);
        Buffer.MemoryCopy(made.Data, a.Data, pair.A.ByteLength, pair.A.ByteLength);
        WriteHeld(pair.A);
        Mix(toB, rowsOfB, Rows(new TensorPanel(columns, DType.F64), outputs), outputs);
        Transpose(columns, rank, outputs, turned);
        Round(pair.B, backend.WeightedSum([new TensorPanel(turned, DType.F64)], [1], 1, rank * outputs, b));
        WriteHeld(pair.B);

        double* Take(long count) => (double*)scratch.Take(count * sizeof(double));

        TensorPanel Held(TensorInfo factor) => new(_held[factor.Name].Pointer, factor.DType);

        TensorPanel[] Rows(TensorPanel matrix, int length) =>
            [.. Enumerable.Range(0, rank).Select(i => new TensorPanel((byte*)matrix.Data + (long)i * length * (matrix.DType.BitSize / 8), matrix.DType))];

        void Mix(double[] mixing, TensorPanel[] from, TensorPanel[] to, int length)
        {
            for (int j = 0; j < rank; j++)
                Round(pair.A, backend.WeightedSum(from, mixing.AsSpan(j * rank, rank), 1, length, to[j]));
        }

        static void Round(TensorInfo factor, long nonFinite)
        {
            if (nonFinite > 0)
                throw new NonFiniteOutputException(factor, $"its balanced factor does not fit {factor.DType.SafetensorsName}.");
        }

        void WriteHeld(TensorInfo factor) => output.Write(factor, 0, new ReadOnlySpan<byte>(_held[factor.Name].Pointer, checked((int)factor.ByteLength)));

        double[] Gram(TensorPanel[] rows, int length)
        {
            double* pairs = Take(GramPairs.Count(rank));
            new Span<double>(pairs, GramPairs.Count(rank)).Clear();
            backend.AddGram(rows, new PanelGeometry(1, length, GroupsAreColumns: false), new GroupValues(pairs, 1));
            double[] gram = new double[rank * rank];
            for (int i = 0; i < rank * rank; i++)
                gram[i] = pairs[GramPairs.Index(Math.Min(i / rank, i % rank), Math.Max(i / rank, i % rank))];
            return gram;
        }
    }

    /// <summary>T^T, whose rows mix B's columns, and T^-1, whose rows mix A's rows.</summary>
    private static (double[] ToB, double[] ToA) Bases(double[] gramOfB, double[] gramOfA, int rank)
    {
        (double[] lengths, double[] u) = SymmetricEigen.Decompose(gramOfB, rank);
        int own = lengths.Count(length => length > Zero * lengths[0]);
        double[] roots = [.. lengths.Take(own).Select(Math.Sqrt)];
        // (L^1/2 U^T) G_A (L^1/2 U^T)^T
        double[] inner = new double[own * own];
        for (int i = 0; i < own; i++)
        {
            for (int j = 0; j < own; j++)
            {
                double sum = 0;
                for (int k = 0; k < rank; k++)
                {
                    for (int l = 0; l < rank; l++)
                        sum += u[k * rank + i] * gramOfA[k * rank + l] * u[l * rank + j];
                }

                inner[i * own + j] = roots[i] * sum * roots[j];
            }
        }

        (double[] squares, double[] w) = SymmetricEigen.Decompose(inner, own);
        double[] toB = new double[rank * rank], toA = new double[rank * rank];
        for (int j = 0; j < rank; j++)
        {
            // the square root of a singular value; a product of nothing keeps its lengths
            double scale = j < own && squares[j] > Zero * squares[0] ? Math.Sqrt(Math.Sqrt(squares[j])) : 1;
            for (int i = 0; i < rank; i++)
            {
                double forB = j < own ? 0 : u[i * rank + j], forA = forB;
                for (int k = 0; k < own && j < own; k++)
                {
                    forB += u[i * rank + k] / roots[k] * w[k * own + j] * scale;
                    forA += u[i * rank + k] * roots[k] * w[k * own + j] / scale;
                }

                (toB[j * rank + i], toA[j * rank + i]) = (forB, forA);
            }
        }

        return (toB, toA);
    }

    private static void Transpose(double* from, int rows, int columns, double* to)
    {
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
                to[(long)column * rows + row] = from[(long)row * columns + column];
        }
    }
}
