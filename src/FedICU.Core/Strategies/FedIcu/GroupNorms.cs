using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace FedICU.Strategies.FedIcu;

/// <summary>Elementwise steps on the norms of one input's groups, ||theta[:,c]|| for each column c.</summary>
internal static class GroupNorms
{
    // as the backend's kernels: a first round must not run in the slow code of a first tier
    private const MethodImplOptions Kernel = MethodImplOptions.AggressiveOptimization;

    /// <summary>Norms of sums of squares; up to <paramref name="epsilon"/> they are zero.</summary>
    [MethodImpl(Kernel)]
    public static void Root(Span<double> squares, double epsilon)
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

    /// <summary>1 / (norm * factor), and 0 for a zero norm.</summary>
    [MethodImpl(Kernel)]
    public static void Reciprocals(ReadOnlySpan<double> norms, double factor, Span<double> reciprocals)
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

    /// <summary>magnitude / norm, and 0 for a zero norm; returns whether there is one.</summary>
    [MethodImpl(Kernel)]
    public static bool Quotients(ReadOnlySpan<double> magnitudes, ReadOnlySpan<double> norms, Span<double> quotients)
    {
        ReadOnlySpan<Vector<double>> over = MemoryMarshal.Cast<double, Vector<double>>(magnitudes), under = MemoryMarshal.Cast<double, Vector<double>>(norms);
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

    /// <summary>magnitude * norm^(coherence - 1), and 0 for a zero norm; returns whether there is one.</summary>
    public static bool Coherent(ReadOnlySpan<double> magnitudes, ReadOnlySpan<double> norms, double coherence, Span<double> scales)
    {
        bool any = false;
        for (int i = 0; i < norms.Length; i++)
        {
            scales[i] = norms[i] == 0 ? 0 : magnitudes[i] * Math.Pow(norms[i], coherence - 1);
            any |= norms[i] == 0;
        }

        return any;
    }

    /// <summary>||flatten V||^2, the number of columns that are not zero, as each of V has norm 1; NaN where a norm is.</summary>
    [MethodImpl(Kernel)]
    public static double SquareOfDirection(ReadOnlySpan<double> norms)
    {
        ReadOnlySpan<Vector<double>> vectors = MemoryMarshal.Cast<double, Vector<double>>(norms);
        Vector<long> positive = Vector<long>.Zero, numbers = Vector<long>.AllBitsSet;
        foreach (Vector<double> norm in vectors)
        {
            // a mask is -1
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
