namespace FedICU.Compute;

/// <summary>
/// The fused operations ("verbs") that strategies are written in. A backend computes them on its hardware; it knows no
/// strategies, files or clients. A backend that only implements this interface can run rounds;
/// <see cref="IClientBackend"/> adds the verbs of the client's side.
/// </summary>
/// <remarks>
/// <para><b>Panels.</b> Every verb takes contiguous panels, all in host memory or all in the memory of the backend's
/// <see cref="Device"/>. All inputs of a verb have the same length. Several threads may call a verb at once.</para>
/// <para><b>Numbers.</b> Inputs of f64, f32, f16 and bf16 are widened exactly to float64. All arithmetic is float64.
/// Each output element is rounded once to its type, ties to even. Every multiply-add below written <c>fma</c> is
/// fused.</para>
/// <para><b>Order.</b> Inputs are combined in the order given. A sum over elements written <c>reduce8</c> has a fixed
/// shape. It has eight lanes. Lane j starts from 0 and takes the elements i = j (mod 8) in ascending order. The lanes
/// are then added as ((l0+l4)+(l2+l6)) + ((l1+l5)+(l3+l7)). Hence the bits are the same at every vector width. A
/// backend for other hardware must compute <see cref="WeightedSum"/> to the last bit. Its other results may differ by
/// the bound that docs/algorithms.md, Numerics, states.</para>
/// <para><b>Non-finite values</b> follow IEEE 754 into the results. Verbs that write an output return how many of its
/// elements are not finite.</para>
/// </remarks>
public unsafe interface IComputeBackend
{
    /// <summary>
    /// Gets the name used in options, reports and on the command line: <c>simd</c>, <c>reference</c>, ...
    /// </summary>
    string Name { get; }

    /// <summary>
    /// Gets the owner of the device memory that panels may lie in; null if the backend computes in host memory only.
    /// </summary>
    object? Device => null;

    /// <summary>
    /// Allocates memory of <see cref="Device"/>, for a verb to write and another to read. It is not cleared.
    /// </summary>
    /// <param name="bytes">The number of bytes.</param>
    /// <param name="address">The address on the device.</param>
    /// <returns>
    /// An object that frees the memory when disposed; null if there is no device memory, or not enough is left.
    /// </returns>
    IDisposable? AllocateOnDevice(long bytes, out nint address)
    {
        address = 0;
        return null;
    }

    /// <summary>
    /// Returns the number of elements of a panel in host memory that suits the backend. The sums of a panel are added
    /// in a fixed order, so the number is part of the results' bits: CPU backends keep the default.
    /// </summary>
    /// <param name="inputs">The number of inputs that a verb reads side by side.</param>
    int GetPanelElements(int inputs) => PanelGeometry.GetElementsOfCpuPanel(inputs);

    /// <summary>Returns the number of elements of a panel in the memory of <see cref="Device"/>.</summary>
    /// <param name="outputOnDevice">Whether the results stay there; otherwise the host receives them.</param>
    int GetPanelElementsOnDevice(bool outputOnDevice) => GetPanelElements(1);

    /// <summary>
    /// Gets the largest number of inputs for which one <see cref="AddGram"/> pass is cheaper than the passes it
    /// replaces; 0 if it never is.
    /// </summary>
    int PairInputs => 12;

    /// <summary>
    /// Computes output[i] = round((sum over k of weights[k] * x_k[i]) / divisor) (McMahan et al. 2017, with the
    /// division last). The sum is acc = weights[0] * x_0[i], then acc = fma(weights[k], x_k[i], acc) for k = 1, 2, ...
    /// If the result is not finite, the element is computed again with weights and divisor times one power of two: then
    /// no sum of finite inputs overflows.
    /// </summary>
    /// <param name="inputs">N panels, N at least 1.</param>
    /// <param name="weights">N weights.</param>
    /// <param name="divisor">Divides the sum, in float64.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="output">Receives the result; its type may differ from the inputs'.</param>
    /// <returns>The number of outputs that are NaN or infinite.</returns>
    long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output);

    /// <summary>
    /// Computes sums[k, g] += sum of x_k[i]^2 over the elements i of group g. If groups are columns, sums[k, c] =
    /// fma(x, x, sums[k, c]) for each row in ascending order. If groups are rows, sums[k, r] += reduce8 of fma(x, x,
    /// lane).
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="geometry">The rows and columns, and which of them are groups.</param>
    /// <param name="sums">N x groups, added to.</param>
    void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums);

    /// <summary>
    /// Computes grams[(j, k), g] += sum of x_j[i] * x_k[i] over the elements i of group g, for each pair j &lt;= k: all
    /// inner products of the inputs in one pass. The order is that of <see cref="AddSquares"/>, so that the pairs (k,
    /// k) have its bits.
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="geometry">The rows and columns, and which of them are groups.</param>
    /// <param name="grams">N (N + 1) / 2 pairs x groups in the order of <see cref="GramPairs"/>, added to.</param>
    void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams);

    /// <summary>
    /// Computes dots[k] += sum over i of a[k, g(i)] * (x_k[i] * t[i]), where t[i] = sum over j of b[j, g(i)] * x_j[i]
    /// (first product plain, then fma): the inner product of each scaled input with one linear combination of all. If
    /// columns are groups, rows are taken <see cref="PanelGeometry.RowsPerBlock"/> at a time, and the remaining ones
    /// one by one, in blocks of <see cref="PanelGeometry.ProjectionBlock"/> columns (four times as many for a single
    /// row). For each block, p = x * t of its first row, then fma for the others, and dots[k] += reduce8 of fma(a, p,
    /// lane).
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="geometry">The rows and columns, and which of them are groups.</param>
    /// <param name="a">N x groups: the scale of each input.</param>
    /// <param name="b">N x groups: the coefficients of the combination.</param>
    /// <param name="dots">N sums, added to.</param>
    void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots);

    /// <summary>
    /// Computes y[i] = sum over k of c[k, g(i)] * x_k[i] (first product plain, then fma) and output[i] =
    /// round(scales[g(i)] * y[i]). If <paramref name="squares"/> is given, also computes squares[g] += sum of y[i]^2 in
    /// the order of <see cref="AddSquares"/>, from y before scaling and rounding.
    /// </summary>
    /// <param name="inputs">N panels, N at least 1.</param>
    /// <param name="geometry">The rows and columns, and which of them are groups.</param>
    /// <param name="coefficients">N x groups.</param>
    /// <param name="scales">A factor of the float64 sum for each group; null: none.</param>
    /// <param name="output">Receives y, scaled and rounded to its type; a panel without data writes nothing.</param>
    /// <param name="squares">One sum for each group, added to; or null.</param>
    /// <returns>The number of outputs that are NaN or infinite.</returns>
    long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares);

    /// <summary>
    /// Computes the mean of each element's middle values: the <paramref name="trim"/> smallest and the
    /// <paramref name="trim"/> largest of its N values are left out (Yin et al. 2018, coordinate-wise median and
    /// trimmed mean). With trim = (N - 1) / 2 it is the median; if N is even, the mean of the middle two.
    /// </summary>
    /// <remarks>
    /// <para>Values are ordered by sign and magnitude of their bits, so that -0 comes before +0, and NaNs at both ends.
    /// Values of ranks trim and N - 1 - trim are lo and hi. If both have the same bits, output[i] = round(lo).</para>
    /// <para>Otherwise S = 0 + the values strictly between lo and hi, in the order of the inputs; a and b are the
    /// numbers of kept ranks that equal lo and hi; S = fma(a, lo, S); S = fma(b, hi, S); output[i] = round(S / (N - 2
    /// trim)). If that quotient is not finite, the element is computed again with values and divisor times one power of
    /// two, so that no sum of finite values overflows.</para>
    /// <para>Every backend must compute these bits. The output may overwrite an input of its type.</para>
    /// </remarks>
    /// <param name="inputs">N panels, N at least 1. Their types may differ.</param>
    /// <param name="trim">How many values are left out at each end: at least 0, less than N / 2.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="output">Receives the result; its type may differ from the inputs'.</param>
    /// <returns>The number of elements with an input, or an output, that is NaN or infinite.</returns>
    long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output);

    /// <summary>
    /// Computes sums[(j, k)] += sum over i of (x_j[i] - x_k[i])^2 for each pair j &lt; k: all squared distances of the
    /// inputs in one pass. Elements are taken in blocks of <see cref="PanelGeometry.DistanceBlock"/>. For each block,
    /// sums[(j, k)] += reduce8 of fma(d, d, lane), where d = x_j[i] - x_k[i] in float64. Panels that are multiples of
    /// the block, the last one aside, thus add up to the bits of the whole tensor.
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="sums">
    /// N (N - 1) / 2 sums, added to; pair (j, k) at index <see cref="GramPairs.Index"/> of (j, k - 1).
    /// </param>
    void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums);

    /// <summary>
    /// Computes squares[k] += sum over i of (x_k[i] - o[i])^2 and products[k] += sum over i of (x_k[i] - o[i]) * (t[i]
    /// - o[i]): the inputs' squared distances to an origin, and their inner products with a direction, in one pass.
    /// Elements are taken in blocks of <see cref="PanelGeometry.DistanceBlock"/>, as in
    /// <see cref="AddPairDistances"/>: with d = x_k[i] - o[i] in float64, a block adds reduce8 of fma(d, d, lane), and
    /// reduce8 of fma(d, t[i] - o[i], lane).
    /// </summary>
    /// <param name="inputs">N panels.</param>
    /// <param name="origin">o; a panel without data is 0.</param>
    /// <param name="direction">t; a panel without data: no products are computed.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="squares">N sums, added to.</param>
    /// <param name="products">N sums, added to; none without a direction.</param>
    void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products);

    /// <summary>Counts the elements that are NaN or infinite.</summary>
    /// <param name="input">The panel.</param>
    /// <param name="length">Its elements.</param>
    long CountNonFinite(TensorPanel input, int length);
}
