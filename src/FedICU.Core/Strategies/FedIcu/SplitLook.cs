using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Strategies.FedIcu;

/// <summary>
/// What the split wants to know of a tensor: the norms of all inputs' columns, inner products of directions, norms of the combined directions. There
/// are two ways to it (docs/adr/0008); which is taken depends on shape and number of clients alone.
/// </summary>
internal abstract class SplitLook : IDisposable
{
    // M / ||V|| and 1 / M of norms M up to 2^960 stay in float64's range, where ||V|| is above eps; the factor brings all norms of 2^60
    // elements below that
    private const double LargestNorm = 9.74531401136e288, LargeNorms = 1.0 / (1UL << 63) / (1UL << 63) / 4;

    private readonly TensorContext _tensor;
    private readonly FedIcuOptions _options;
    private readonly double _factor;
    private GroupBuffer? _previous;

    private SplitLook(TensorContext tensor, FedIcuOptions options, PanelReader[] inputs, PanelReader[] clients, Grouping grouping, GroupBuffer squares, double factor = 1)
    {
        (_tensor, _options, Inputs, Clients, Grouping, Norms, _factor) = (tensor, options, inputs, clients, grouping, squares, factor);
        Root(squares, first: 0);
    }

    /// <summary>The clients' tensors in the form that is split, and the global model's after them.</summary>
    public PanelReader[] Inputs { get; }

    /// <summary>The clients' alone.</summary>
    public PanelReader[] Clients { get; }

    public Grouping Grouping { get; }

    /// <summary>
    /// ||theta_k[:,c]|| for each client and, last, the global model where its direction enters; norms up to eps are zero. All are times one
    /// power of two, which no later step depends on.
    /// </summary>
    public GroupBuffer Norms { get; }

    /// <summary>The global model's norms, for columns whose previous direction stays: seldom wanted, and looked at then.</summary>
    public ReadOnlySpan<double> PreviousNorms
    {
        get
        {
            if (Norms.Inputs == Inputs.Length)
                return Norms[Inputs.Length - 1];
            if (_previous is null)
            {
                _previous = _tensor.Squares(Looked(Inputs[^1..]), Grouping);
                Root(_previous, first: Inputs.Length - 1);
            }

            return _previous[0];
        }
    }

    /// <summary>Room for a value of each input and column.</summary>
    public GroupBuffer NewGroups(int inputs, bool clear) => _tensor.NewGroups(inputs, Grouping.Groups, clear);

    /// <summary>Looks at a tensor for the first time.</summary>
    public static SplitLook Open(TensorContext tensor, FedIcuOptions options)
    {
        bool delta = options.Target == SplitTarget.Delta;
        // updates are made on the host, of panels that its caches hold
        bool onDevice = tensor.OnDevice && !delta;
        SplitLook look = Open(tensor, options, onDevice);
        if (!look.HasLargeNorms)
            return look;
        look.Dispose();
        look = new Direct(tensor, options, InputsOf(tensor, options, true, false), InputsOf(tensor, options, false, false), tensor.GroupingBy(options.Axis), LargeNorms);
        if (!look.HasLargeNorms)
            return look;
        look.Dispose();
        throw new NonFiniteOutputException(tensor.Info, "an input, or its difference to the global model, is too large for F64.");
    }

    private static SplitLook Open(TensorContext tensor, FedIcuOptions options, bool onDevice)
    {
        Grouping grouping = tensor.GroupingBy(options.Axis, onDevice: onDevice);
        PanelReader[] inputs = InputsOf(tensor, options, true, onDevice), clients = InputsOf(tensor, options, false, onDevice);
        PanelReader[] looked = options.PreviousEnters ? inputs : clients;
        tensor.Preload(looked);
        GroupBuffer? grams = tensor.TryGram(looked, grouping);
        if (grams is not null && !HasOverflowed(grams, looked.Length))
            return new FromGram(tensor, options, inputs, clients, grouping, looked.Length, grams);
        grams?.Dispose();
        return new Direct(tensor, options, inputs, clients, grouping, factor: 1);
    }

    private static PanelReader[] InputsOf(TensorContext tensor, FedIcuOptions options, bool withGlobal, bool onDevice) =>
        tensor.Inputs(options.Target == SplitTarget.Delta ? UpdateForm.Delta : UpdateForm.Parameters, withGlobal, onDevice: onDevice);

    /// <summary>Whether a square is larger than float64 holds; where none is, no inner product is.</summary>
    private static bool HasOverflowed(GroupBuffer grams, int inputs)
    {
        for (int k = 0; k < inputs; k++)
        {
            if (grams[GramPairs.Index(k, k)].Contains(double.PositiveInfinity))
                return true;
        }

        return false;
    }

    /// <summary>Whether what is looked at is a power of two times the inputs: then norms and directions belong to that scale.</summary>
    public bool IsScaled => _factor != 1;

    /// <summary>Writes the output, a combination of inputs.</summary>
    public void Write(PanelReader[] combined, GroupBuffer coefficients)
    {
        if (IsScaled)
            _tensor.CombineScaled(Looked(combined), Grouping, coefficients, 1 / _factor);
        else
            _tensor.Combine(combined, Grouping, coefficients, null);
    }

    private bool HasLargeNorms { get; set; }

    /// <summary>What is looked at of inputs: their values, or a power of two times them.</summary>
    private PanelReader[] Looked(PanelReader[] inputs) => _tensor.Scaled(inputs, _factor);

    /// <summary>Makes norms of the squares of inputs <paramref name="first"/> and on.</summary>
    private void Root(GroupBuffer squares, int first)
    {
        bool overflowed = false;
        for (int k = 0; k < squares.Inputs; k++)
        {
            GroupNorms.Root(squares[k], _options.Epsilon * _factor);
            overflowed |= squares[k].Contains(double.PositiveInfinity);
        }

        if (!overflowed)
            return;
        PanelReader[] onHost = InputsOf(_tensor, _options, withGlobal: true, onDevice: false);
        _tensor.RestoreNorms(squares, Looked(onHost[first..]), _tensor.GroupingBy(_options.Axis));
        for (int k = 0; k < squares.Inputs; k++)
            HasLargeNorms |= squares[k].ContainsAnyExceptInRange(0, IsScaled ? double.MaxValue : LargestNorm);
    }

    /// <summary>For each client the sum over the columns of a_k[c] theta_k[:,c] times the sum over all inputs j of b_j[c] theta_j[:,c], into <paramref name="products"/>.</summary>
    public abstract void Products(GroupBuffer a, GroupBuffer b, Span<double> products);

    /// <summary>Whether the combination is kept whatever the inputs are: by the tensor's size alone.</summary>
    public virtual bool AlwaysKeeps => false;

    /// <summary>||sum_k w_k / M_k[c] theta_k[:,c]||^2 for each column.</summary>
    /// <param name="combined">The clients, and the global model where its direction enters.</param>
    /// <param name="directions">w_k / M_k[c].</param>
    /// <param name="weights">w_k.</param>
    /// <param name="unrounded">The combination itself in float64, where it was kept on the way; else null.</param>
    public abstract GroupBuffer CombinationSquares(PanelReader[] combined, GroupBuffer directions, ReadOnlySpan<double> weights, out Unrounded? unrounded);

    public virtual void Dispose()
    {
        Norms.Dispose();
        _previous?.Dispose();
    }

    /// <summary>Linear in the number of clients: a look for the norms, one for the products, one for the combination.</summary>
    private sealed class Direct(TensorContext tensor, FedIcuOptions options, PanelReader[] inputs, PanelReader[] clients, Grouping grouping, double factor)
        : SplitLook(tensor, options, inputs, clients, grouping, tensor.Squares(tensor.Scaled(options.PreviousEnters ? inputs : clients, factor), grouping), factor)
    {
        // up to so many bytes the combination stays in the cache until it is scaled; of many inputs in memory, or on a device, it is kept beside them, which costs less
        // than to read them once more and gives the same bits
        private const long CachedBytes = 8 << 20, KeptBytes = 512 << 20;
        private const int ManyInputs = 12;

        private bool IsOnDevice => Clients[0].IsOnDevice;

        private long Bytes => _tensor.Info.ElementCount * sizeof(double);

        // what a device has made stays there
        public override bool AlwaysKeeps => Bytes <= CachedBytes && !IsOnDevice && !IsScaled;

        public override void Products(GroupBuffer a, GroupBuffer b, Span<double> products) =>
            _tensor.Projections(Looked(a.Inputs == Clients.Length ? Clients : Inputs), Grouping, a, b, products);

        public override GroupBuffer CombinationSquares(PanelReader[] combined, GroupBuffer directions, ReadOnlySpan<double> weights, out Unrounded? unrounded)
        {
            bool pays = IsOnDevice
                // written once and read once
                ? combined.Length * (_tensor.Info.DType.BitSize / 8) > 2 * sizeof(double)
                : combined.Length > ManyInputs && Bytes <= KeptBytes && Array.TrueForAll(combined, static input => input.IsInMemory);
            unrounded = AlwaysKeeps || pays && !IsScaled ? _tensor.NewUnrounded(IsOnDevice) : null;
            return _tensor.CombinationSquares(Looked(combined), Grouping, directions, unrounded);
        }
    }

    /// <summary>All from the inner products of all pairs, found in one look.</summary>
    private sealed class FromGram(TensorContext tensor, FedIcuOptions options, PanelReader[] inputs, PanelReader[] clients, Grouping grouping, int looked, GroupBuffer grams)
        : SplitLook(tensor, options, inputs, clients, grouping, Diagonal(tensor, grams, looked))
    {
        // below this share of the largest square that the coefficients allow, the quadratic form has lost its digits (docs/adr/0008)
        private const double LostDigits = 1e-6;

        public override void Products(GroupBuffer a, GroupBuffer b, Span<double> products)
        {
            products.Clear();
            for (int k = 0; k < a.Inputs; k++)
            {
                for (int j = 0; j < b.Inputs; j++)
                {
                    ReadOnlySpan<double> ak = a[k], bj = b[j], gram = Pair(j, k);
                    double sum = 0;
                    for (int c = 0; c < gram.Length; c++)
                        sum = Math.FusedMultiplyAdd(ak[c] * gram[c], bj[c], sum);
                    products[k] += sum;
                }
            }
        }

        public override GroupBuffer CombinationSquares(PanelReader[] combined, GroupBuffer directions, ReadOnlySpan<double> weights, out Unrounded? unrounded)
        {
            unrounded = null;
            var squares = _tensor.NewGroups(1, Grouping.Groups);
            for (int k = 0; k < combined.Length; k++)
            {
                for (int j = 0; j <= k; j++)
                    AddQuadratic(directions[j], directions[k], Pair(j, k), j == k ? 1 : 2, squares[0]);
            }

            GroupBuffer? direct = null;
            for (int c = 0; c < squares.Groups; c++)
            {
                if (HasLostDigits(squares[0][c], c, combined.Length, weights))
                    squares[0][c] = (direct ??= _tensor.CombinationSquares(combined, Grouping, directions, null))[0][c];
            }

            direct?.Dispose();
            return squares;
        }

        public override void Dispose()
        {
            base.Dispose();
            grams.Dispose();
        }

        private static GroupBuffer Diagonal(TensorContext tensor, GroupBuffer grams, int inputs)
        {
            var squares = tensor.NewGroups(inputs, grams.Groups, clear: false);
            for (int k = 0; k < inputs; k++)
                grams[GramPairs.Index(k, k)].CopyTo(squares[k]);
            return squares;
        }

        private Span<double> Pair(int j, int k) => grams[GramPairs.Index(Math.Min(j, k), Math.Max(j, k))];

        private static void AddQuadratic(ReadOnlySpan<double> a, ReadOnlySpan<double> b, ReadOnlySpan<double> gram, double times, Span<double> sums)
        {
            for (int c = 0; c < sums.Length; c++)
                sums[c] = Math.FusedMultiplyAdd(times * a[c] * b[c], gram[c], sums[c]);
        }

        private bool HasLostDigits(double square, int column, int combined, ReadOnlySpan<double> weights)
        {
            double sum = 0;
            for (int k = 0; k < combined; k++)
                sum += Norms[k][column] > 0 ? Math.Abs(weights[k]) : 0;
            return square < LostDigits * sum * sum;
        }
    }
}
