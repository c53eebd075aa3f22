using System.Runtime.CompilerServices;

namespace FedICU.Compute.Simd;

/// <summary>What a sum over pairs of inputs adds for each element.</summary>
internal interface IPairTerm
{
    /// <summary>Gets 1 if an input is also paired with itself, otherwise 0.</summary>
    static abstract int Own { get; }

    /// <summary>Adds the terms of two vectors to a vector of sums.</summary>
    static abstract V Add<W, V>(V x, V y, V sum)
        where W : struct, IGramVector<V>
        where V : unmanaged;
}

/// <summary>x * y, of all pairs j &lt;= k.</summary>
internal readonly struct ProductTerm : IPairTerm
{
    public static int Own => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Add<W, V>(V x, V y, V sum)
        where W : struct, IGramVector<V>
        where V : unmanaged => W.FusedMultiplyAdd(x, y, sum);
}

/// <summary>(x - y)^2, of all pairs j &lt; k.</summary>
internal readonly struct DistanceTerm : IPairTerm
{
    public static int Own => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Add<W, V>(V x, V y, V sum)
        where W : struct, IGramVector<V>
        where V : unmanaged
    {
        V difference = W.Subtract(x, y);
        return W.FusedMultiplyAdd(difference, difference, sum);
    }
}
