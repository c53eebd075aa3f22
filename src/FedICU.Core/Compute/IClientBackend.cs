namespace FedICU.Compute;

/// <summary>
/// A backend that also computes the client's side: the importances and masks of <see cref="FedIcuClient"/> and the term
/// of <see cref="ProximalTerm"/>. The client uses verbs of <see cref="IComputeBackend"/> too. Every backend of the
/// library implements both.
/// </summary>
/// <remarks>
/// The rules for panels, numbers, order and non-finite values of <see cref="IComputeBackend"/> apply.
/// </remarks>
public unsafe interface IClientBackend : IComputeBackend
{
    /// <summary>The bytes that <see cref="Pack"/> may write past the last element it packs.</summary>
    const int PackSlack = MaskBits.Slack;

    /// <summary>
    /// Adds a panel's magnitudes |u| (the update's) and |g| (the received model's) to two sets of moments, in blocks of
    /// <see cref="MagnitudeMoments.Block"/> elements. For each block mean = reduce8(|x|) / n and m2 = reduce8 of fma(d,
    /// d, lane) with d = |x| - mean; these, the minimum and the maximum are merged with
    /// <see cref="MagnitudeMoments.Merge(long, double, double, double, double)"/>.
    /// </summary>
    /// <param name="inputs">The panels that u and g are computed from.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="update">The moments of |u|, merged into.</param>
    /// <param name="global">The moments of |g|, merged into.</param>
    void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global);

    /// <summary>
    /// Computes the hard mask: bit i is set if z_u - z_g > 1e-12 * (1 + |z_g|), with z = (|x| - center) / spread of
    /// each side. If u's spread is 0, bit i is set if u is not 0; otherwise, if g's spread is 0, all bits are set
    /// (docs/algorithms.md, Ties). Also writes the momentum u, rounded to its type, if asked to.
    /// </summary>
    /// <param name="inputs">The panels that u and g are computed from.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="update">The center and spread of |u|.</param>
    /// <param name="global">The center and spread of |g|.</param>
    /// <param name="mask">
    /// Receives the bits, least significant first, in ceil(length / 8) bytes; unused bits of the last byte are zero.
    /// Null writes no mask.
    /// </param>
    /// <param name="momentum">Receives u; a panel without data writes nothing.</param>
    /// <returns>The number of set bits.</returns>
    long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum);

    /// <summary>
    /// Computes the importances themselves: z = (|x| - center) / spread, or 1 / (1 + exp(-z)) if
    /// <paramref name="sigmoid"/> is set. A spread of 0 gives importance 0. exp is Math.Exp on every path.
    /// </summary>
    /// <param name="inputs">The panels that u and g are computed from.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="update">The center and spread of |u|.</param>
    /// <param name="global">The center and spread of |g|.</param>
    /// <param name="sigmoid">Whether the logistic function is applied.</param>
    /// <param name="updateImportance">Receives the importances of u, one for each element; may be null.</param>
    /// <param name="globalImportance">Receives the importances of g, one for each element; may be null.</param>
    void Importance(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
        double* globalImportance);

    /// <summary>Copies the elements whose bit is set, in their order and unchanged, one after the other.</summary>
    /// <param name="source">The elements; their type may be any of 2, 4 or 8 bytes.</param>
    /// <param name="length">The number of elements.</param>
    /// <param name="mask">
    /// A bit for each element, eight to a byte, the least significant first; bits past the last element are zero. In
    /// host memory.
    /// </param>
    /// <param name="packed">
    /// Receives the elements, and up to <see cref="PackSlack"/> bytes of undefined content after them. In host memory.
    /// </param>
    /// <returns>The number of elements whose bit is set.</returns>
    long Pack(TensorPanel source, int length, byte* mask, void* packed);

    /// <summary>
    /// Computes FedProx's proximal term (Li et al. 2020): returns reduce8 of fma(d, d, lane) with d = w[i] - x[i]. If
    /// the gradient has data, adds mu * d to it: gradient[i] = round(fma(mu, d, gradient[i])).
    /// </summary>
    /// <param name="local">w, the weights being trained.</param>
    /// <param name="global">x, the received weights.</param>
    /// <param name="mu">The strength of the term.</param>
    /// <param name="length">The elements of each panel.</param>
    /// <param name="gradient">Added to in place; a panel without data is left out.</param>
    /// <returns>The squared distance of the panels.</returns>
    double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient);
}
