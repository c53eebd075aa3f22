using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedICU.Strategies.FedIcu;

/// <summary>Element-wise steps on the norms of one input's groups: ||theta[:,c]|| for each column c.</summary>
internal static class GroupNorms
{
    // as for the backend's kernels: a first round must not run in the JIT's slow first tier
    private const MethodImplOptions Kernel = MethodImplOptions.AggressiveOptimization;

    /// <summary>Replaces sums of squares by norms; norms up to <paramref name="epsilon"/> become 0.</summary>
    [MethodImpl(Kernel)]
    public static void TakeRoots(Span<double> squares, double epsilon)
    {
        Span<Vector<double>> vectors = MemoryMarshal.Cast<double, Vector<double>>(squares);
        var limit = new Vector<double>(epsilon);
        foreach (ref Vector<double> value in vectors)
        {
            Vector<double> norm = Vector.SquareRoot(value);
            value = Vector.ConditionalSelect(Vector.LessThanOrEqual(norm, limit), Vector<double>.Zero, norm);
        }

        foreach (ref double value in squares[(vectors.Length * Vector<double>.Count)..])
            value = Math.Sqrt(value) is var norm && norm <= epsilon ? 0 : norm;
    }

    /// <summary>Computes 1 / (norm * factor); 0 for a norm of 0.</summary>
    [MethodImpl(Kernel)]
    public static void TakeReciprocals(ReadOnlySpan<double> norms, double factor, Span<double> reciprocals)
    {
        ReadOnlySpan<Vector<double>> vectors = MemoryMarshal.Cast<double, Vector<double>>(norms);
        Span<Vector<double>> results = MemoryMarshal.Cast<double, Vector<double>>(reciprocals);
        for (int i = 0; i < vectors.Length; i++)
        {
            Vector<double> reciprocal = Vector<double>.One / (vectors[i] * factor);
            results[i] = Vector.ConditionalSelect(Vector.Equals(vectors[i], Vector<double>.Zero), Vector<double>.Zero, reciprocal);
        }

        for (int i = vectors.Length * Vector<double>.Count; i < norms.Length; i++)
            reciprocals[i] = norms[i] == 0 ? 0 : 1 / (norms[i] * factor);
    }

    /// <summary>Computes magnitude / norm; 0 for a norm of 0. Returns whether there is such a norm.</summary>
    [MethodImpl(Kernel)]
    public static bool Divide(ReadOnlySpan<double> magnitudes, ReadOnlySpan<double> norms, Span<double> quotients)
    {
        ReadOnlySpan<Vector<double>> over = MemoryMarshal.Cast<double, Vector<double>>(magnitudes);
        ReadOnlySpan<Vector<double>> under = MemoryMarshal.Cast<double, Vector<double>>(norms);
        Span<Vector<double>> results = MemoryMarshal.Cast<double, Vector<double>>(quotients);
        Vector<long> zeros = Vector<long>.Zero;
        for (int i = 0; i < results.Length; i++)
        {
            Vector<long> zero = Vector.Equals(under[i], Vector<double>.Zero);
            results[i] = Vector.ConditionalSelect(zero, Vector<double>.Zero, over[i] / under[i]);
            zeros |= zero;
        }

        bool any = zeros != Vector<long>.Zero;
        for (int i = results.Length * Vector<double>.Count; i < norms.Length; i++)
        {
            quotients[i] = norms[i] == 0 ? 0 : magnitudes[i] / norms[i];
            any |= norms[i] == 0;
        }

        return any;
    }

    /// <summary>
    /// Computes magnitude * norm^(coherence - 1); 0 for a norm of 0. Returns whether there is such a norm.
    /// </summary>
    public static bool DivideCoherent(ReadOnlySpan<double> magnitudes, ReadOnlySpan<double> norms, double coherence, Span<double> scales)
    {
        bool any = false;
        for (int i = 0; i < norms.Length; i++)
        {
            scales[i] = norms[i] == 0 ? 0 : magnitudes[i] * Math.Pow(norms[i], coherence - 1);
            any |= norms[i] == 0;
        }

        return any;
    }

    /// <summary>
    /// Computes ||flatten V||^2: the number of columns that are not 0, because each column of V has norm 1. NaN if a
    /// norm is NaN.
    /// </summary>
    [MethodImpl(Kernel)]
    public static double MeasureDirectionSquare(ReadOnlySpan<double> norms)
    {
        ReadOnlySpan<Vector<double>> vectors = MemoryMarshal.Cast<double, Vector<double>>(norms);
        Vector<long> positive = Vector<long>.Zero, numbers = Vector<long>.AllBitsSet;
        foreach (Vector<double> norm in vectors)
        {
            // a comparison gives -1 where it holds
            positive -= Vector.GreaterThan(norm, Vector<double>.Zero);
            numbers &= Vector.Equals(norm, norm);
        }

        long columns = Vector.Sum(positive);
        bool finite = numbers == Vector<long>.AllBitsSet;
        foreach (double norm in norms[(vectors.Length * Vector<double>.Count)..])
        {
            columns += norm > 0 ? 1 : 0;
            finite &= !double.IsNaN(norm);
        }

        return finite ? columns : double.NaN;
    }
}
