using System.Collections.Immutable;
using System.Globalization;

namespace FedICU;

/// <summary>
/// The dimensions of a tensor, outermost first (row-major order). A tensor without dimensions has one element.
/// </summary>
public readonly struct TensorShape : IEquatable<TensorShape>
{
    /// <summary>
    /// The largest number of dimensions accepted from files; chosen. No tensor library has more, and messages print
    /// shapes.
    /// </summary>
    internal const int MaxRank = 64;

    private readonly ImmutableArray<long> _dimensions;

    /// <summary>Creates a shape.</summary>
    /// <param name="dimensions">The dimensions; none may be negative.</param>
    /// <exception cref="ArgumentOutOfRangeException">A dimension is negative.</exception>
    /// <exception cref="OverflowException">The number of elements does not fit in 64 bits.</exception>
    public TensorShape(params ReadOnlySpan<long> dimensions)
    {
        long count = 1;
        bool empty = false;
        foreach (long dimension in dimensions)
        {
            ArgumentOutOfRangeException.ThrowIfNegative(dimension, nameof(dimensions));
            empty |= dimension == 0;
            count = checked(count * Math.Max(dimension, 1));
        }

        _dimensions = [.. dimensions];
        ElementCount = empty ? 0 : count;
    }

    /// <summary>Gets the dimensions, outermost first.</summary>
    public ReadOnlySpan<long> Dimensions => _dimensions.IsDefault ? [] : _dimensions.AsSpan();

    /// <summary>Gets the number of dimensions.</summary>
    public int Rank => _dimensions.IsDefault ? 0 : _dimensions.Length;

    /// <summary>Gets the product of all dimensions; 1 for a scalar.</summary>
    public long ElementCount { get => _dimensions.IsDefault ? 1 : field; }

    /// <summary>
    /// Returns the shape of the matrix that strategies work on. A matrix keeps its shape, a vector becomes a single
    /// column, a scalar 1 x 1. With more dimensions, the first gives the rows and the product of the others the columns
    /// (docs/algorithms.md, FedICU: the server).
    /// </summary>
    public (long Rows, long Columns) AsMatrix() => Rank switch
    {
        0 => (1, 1),
        1 => (Dimensions[0], 1),
        _ => ElementCount == 0 ? (0, 0) : (Dimensions[0], ElementCount / Dimensions[0]),
    };

    /// <inheritdoc/>
    public bool Equals(TensorShape other) => Dimensions.SequenceEqual(other.Dimensions);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is TensorShape other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (long dimension in Dimensions)
            hash.Add(dimension);
        return hash.ToHashCode();
    }

    /// <summary>Returns the dimensions in brackets: <c>[4096, 8]</c>.</summary>
    public override string ToString() =>
        "[" + string.Join(", ", Dimensions.ToArray().Select(d => d.ToString(CultureInfo.InvariantCulture))) + "]";

    /// <summary>Determines whether two shapes have the same dimensions.</summary>
    public static bool operator ==(TensorShape left, TensorShape right) => left.Equals(right);

    /// <summary>Determines whether two shapes have different dimensions.</summary>
    public static bool operator !=(TensorShape left, TensorShape right) => !left.Equals(right);
}
