namespace FedICU.Compute;

/// <summary>
/// The fused verbs that strategies are written in. A backend knows how to compute them on its hardware and nothing of strategies, files or
/// clients. Every verb takes contiguous panels in host memory (or all in the memory of its device), all inputs of a verb of the same length, and may be called from several
/// threads at once.
/// </summary>
/// <remarks>
/// <para><b>Numbers.</b> Inputs of f64, f32, f16 and bf16 are widened exactly to float64; all arithmetic is float64; each output element is
/// rounded once to its type, ties to even. Every multiply-add below written <c>fma</c> is fused.</para>
/// <para><b>Order.</b> Inputs are combined in the order given. A sum over elements written <c>reduce8</c> has this fixed shape: eight lanes, lane j
/// takes the elements i = j (mod 8) in ascending order, starting from 0; then ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)). Hence the same bits at every
/// vector width. A backend for other hardware keeps <see cref="WeightedSum"/> to the last bit and may differ from the others by the bound that
/// docs/algorithms.md, Numerics, states.</para>
/// <para><b>Non-finite values</b> follow IEEE 754 into the results; the verbs that write an output return how many of its elements are not finite.</para>
/// </remarks>
public unsafe interface IComputeBackend
{
    /// <summary>Bytes that <see cref="Pack"/> may write past the last element it packs.</summary>
    const int PackSlack = MaskBits.Slack;

    /// <summary>The name used in options, reports and on the command line: <c>simd</c>, <c>reference</c>, ...</summary>
    string Name { get; }

    /// <summary>What owns the memory that panels may lie in besides the host's; null where there is none.</summary>
    object? Device => null;

    /// <summary>Takes memory of <see cref="Device"/> for what a verb makes there and another reads; not cleared.</summary>
    /// <param name="bytes">How much.</param>
    /// <param name="address">Its address there.</param>
    /// <returns>Gives it back when disposed of; null where there is no such memory, or none left.</returns>
    IDisposable? AllocateOnDevice(long bytes, out nint address)
    {
        address = 0;
        return null;
    }

    /// <summary>Up to so many inputs, <see cref="AddGram"/> costs less than the looks it saves; 0 where it never does.</summary>
    int PairInputs => 12;

    /// <summary>
    /// output[i] = round((sum over k of weights[k] * x_k[i]) / divisor), accumulated as acc = weights[0] * x_0[i], then
    /// acc = fma(weights[k], x_k[i], acc) for k = 1, 2, ... (McMahan et al. 2017, with the division last). Where that is not finite,
    /// weights and divisor
    /// are multiplied by one power of two, so that no sum of finite inputs overflows, and the element is computed again.
    /// </summary>
    /// <param name="inputs">N panels, N at least 1.</param>
    /// <param name="weights">N weights.</param>
    /// <param name="divisor">Divides the sum, in float64.</param>
    /// <param name="length">Elements of each panel.</param>
    /// <param name="output">Where the result goes; its type may differ from the inputs'.</param>
    /// <returns>How many outputs are NaN or infinite.</returns>
    long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output);

    /// <summary>
    /// sums[k, g] += sum of x_k[i]^2 over the elements i of group g. Groups that are columns: sums[k, c] = fma(x, x, sums[k, c]) for each row in
    /// ascending order. Groups that are rows: sums[k, r] += reduce8 of fma(x, x, lane).
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="geometry">Rows, columns and which of them are groups.</param>
    /// <param name="sums">N x groups, added to.</param>
    void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums);

    /// <summary>
    /// grams[(j, k), g] += sum of x_j[i] * x_k[i] over the elements i of group g, for each pair j &lt;= k: all inner products of the inputs in one
    /// look. The order is that of <see cref="AddSquares"/>, so that the pairs (k, k) have its bits.
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="geometry">Rows, columns and which of them are groups.</param>
    /// <param name="grams">N (N + 1) / 2 pairs x groups in the order of <see cref="GramPairs"/>, added to.</param>
    void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams);

    /// <summary>
    /// dots[k] += sum over i of a[k, g(i)] * (x_k[i] * t[i]), where t[i] = sum over j of b[j, g(i)] * x_j[i] (first product plain, then fma):
    /// the inner product of each scaled input with one linear combination of all. Where columns are groups, rows are taken
    /// <see cref="PanelGeometry.RowsAbreast"/> at a time, and those left over one by one, in blocks of <see cref="PanelGeometry.ProjectionBlock"/>
    /// columns (four times as many where there is one row): for each block, p = x * t of its first row, then fma for the others, and
    /// dots[k] += reduce8 of fma(a, p, lane).
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="geometry">Rows, columns and which of them are groups.</param>
    /// <param name="a">N x groups: the scale of each input.</param>
    /// <param name="b">N x groups: the coefficients of the combination.</param>
    /// <param name="dots">N sums, added to.</param>
    void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots);

    /// <summary>
    /// y[i] = sum over k of c[k, g(i)] * x_k[i] (first product plain, then fma); output[i] = round(scales[g(i)] * y[i]); and where
    /// <paramref name="squares"/> is given, squares[g] += sum of y[i]^2 in the order of <see cref="AddSquares"/>, from y neither scaled nor rounded.
    /// </summary>
    /// <param name="inputs">N panels, N at least 1.</param>
    /// <param name="geometry">Rows, columns and which of them are groups.</param>
    /// <param name="coefficients">N x groups.</param>
    /// <param name="scales">A factor for each group, of the sum in float64; null: none.</param>
    /// <param name="output">Where y goes, scaled and rounded to its type; a panel without data writes nothing.</param>
    /// <param name="squares">Groups sums, added to; or null.</param>
    /// <returns>How many outputs are NaN or infinite.</returns>
    long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output, double* squares);

    /// <summary>How many elements are NaN or infinite.</summary>
    /// <param name="input">The panel.</param>
    /// <param name="length">Its elements.</param>
    long CountNonFinite(TensorPanel input, int length);

    /// <summary>
    /// Adds a panel's magnitudes |u| (the update's) and |g| (the received model's) to two sets of moments, in blocks of
    /// <see cref="MagnitudeMoments.Block"/> elements: for each block mean = reduce8(|x|) / n, m2 = reduce8 of fma(d, d, lane) with d = |x| - mean,
    /// minimum and maximum, merged with <see cref="MagnitudeMoments.Merge(long, double, double, double, double)"/>.
    /// </summary>
    /// <param name="inputs">What u and g are made of.</param>
    /// <param name="length">Elements of each panel.</param>
    /// <param name="update">Moments of |u|, merged into.</param>
    /// <param name="global">Moments of |g|, merged into.</param>
    void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global);

    /// <summary>
    /// The hard mask: bit i is set where z_u - z_g > 1e-12 * (1 + |z_g|), z = (|x| - center) / spread of each side. Where u's spread is 0,
    /// bit i is
    /// set where u is not 0; else, where g's spread is 0, all are (docs/algorithms.md, Ties). Also writes the momentum u, rounded to its
    /// type, where asked.
    /// </summary>
    /// <param name="inputs">What u and g are made of.</param>
    /// <param name="length">Elements of each panel.</param>
    /// <param name="update">Center and spread of |u|.</param>
    /// <param name="global">Center and spread of |g|.</param>
    /// <param name="mask">Bits, least significant first, ceil(length / 8) bytes; unused bits of the last byte are zero. Null writes no mask.</param>
    /// <param name="momentum">Where u goes; a panel without data writes nothing.</param>
    /// <returns>How many bits are set.</returns>
    long SelectImportant(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum);

    /// <summary>
    /// The importances themselves: importance = z, or 1 / (1 + exp(-z)) where <paramref name="sigmoid"/> is set, z = (|x| - center) / spread;
    /// a spread of 0 gives importance 0. exp is Math.Exp on every path.
    /// </summary>
    /// <param name="inputs">What u and g are made of.</param>
    /// <param name="length">Elements of each panel.</param>
    /// <param name="update">Center and spread of |u|.</param>
    /// <param name="global">Center and spread of |g|.</param>
    /// <param name="sigmoid">Whether the logistic function is applied.</param>
    /// <param name="updateImportance">Length importances of u; may be null.</param>
    /// <param name="globalImportance">Length importances of g; may be null.</param>
    void Importance(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance, double* globalImportance);

    /// <summary>Moves the elements whose bit is set together, in their order, as they are.</summary>
    /// <param name="source">The elements; their type may be any of 2, 4 or 8 bytes.</param>
    /// <param name="length">How many there are.</param>
    /// <param name="mask">A bit for each, eight a byte, the least significant first; those past the last are zero. In host memory.</param>
    /// <param name="packed">Takes the elements, and up to <see cref="PackSlack"/> bytes of anything after them. In host memory.</param>
    /// <returns>How many there are whose bit is set.</returns>
    long Pack(TensorPanel source, int length, byte* mask, void* packed);

    /// <summary>
    /// FedProx's proximal term (Li et al. 2020): returns reduce8 of fma(d, d, lane) with d = w[i] - x[i], and where the gradient has data adds
    /// mu * d to it: gradient[i] = round(fma(mu, d, gradient[i])).
    /// </summary>
    /// <param name="local">w, the weights being trained.</param>
    /// <param name="global">x, the weights received.</param>
    /// <param name="mu">The strength of the term.</param>
    /// <param name="length">Elements of each panel.</param>
    /// <param name="gradient">Added to in place; a panel without data is left out.</param>
    /// <returns>The squared distance of the panel.</returns>
    double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient);
}
