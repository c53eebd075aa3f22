using System.Numerics.Tensors;
using System.Runtime.CompilerServices;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// ElectSigns: TIES' election and merge of all inputs, in one pass.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Computes for each element d_k = x_k - origin, which counts if |d_k| exceeds a bound; the sign of a sum over the
    /// d_k; and the weighted sum of the d_k of that sign, divided as the election says, or 0 if there are none.
    /// </summary>
    /// <remarks>
    /// The positive and the negative d_k are added separately, in the order of the inputs: both the sign and the result
    /// follow from these sums, so that each value is read once.
    /// </remarks>
    /// <param name="inputs">N panels of one type, N at least 1.</param>
    /// <param name="origin">What is subtracted, with zeros up to a multiple of eight; null: nothing.</param>
    /// <param name="weights">N weights, at least 0.</param>
    /// <param name="bounds">N bounds, at least 0.</param>
    /// <param name="election">How signs are elected.</param>
    /// <param name="length">The number of elements.</param>
    /// <param name="output">Receives the result, and zeros up to a multiple of eight.</param>
    /// <returns>Whether all d_k are finite.</returns>
    internal bool ElectSigns(
        ReadOnlySpan<TensorPanel> inputs, double* origin, ReadOnlySpan<double> weights, ReadOnlySpan<double> bounds,
        SignElection election, int length, double* output)
    {
        double* negative = stackalloc double[bounds.Length];
        TensorPrimitives.Negate(bounds, new Span<double>(negative, bounds.Length));
        fixed (double* firstWeight = weights, firstBound = bounds)
        {
            var factors = new ElectionFactors
            {
                Weights = firstWeight,
                Bounds = firstBound,
                NegativeBounds = negative,
                Scale = election.Scale,
            };
            return Width switch
            {
                512 => ElectSigns<Lanes512>(inputs, origin, factors, election, length, output),
                256 => ElectSigns<Lanes256>(inputs, origin, factors, election, length, output),
                _ => ElectSigns<Lanes128>(inputs, origin, factors, election, length, output),
            };
        }
    }

    private static bool ElectSigns<L>(
        ReadOnlySpan<TensorPanel> inputs, double* origin, in ElectionFactors factors, SignElection election, int length, double* output)
        where L : unmanaged, ILanes<L>
    {
        byte** rows = stackalloc byte*[inputs.Length];
        for (int k = 0; k < inputs.Length; k++)
            rows[k] = (byte*)inputs[k].Data;
        int whole = length / Lanes * Lanes;
        bool isFinite = inputs[0].DType switch
        {
            DType.F64 => ElectSigns<L, F64>(rows, inputs.Length, origin, factors, election, whole, output),
            DType.F32 => ElectSigns<L, F32>(rows, inputs.Length, origin, factors, election, whole, output),
            DType.F16 => ElectSigns<L, F16>(rows, inputs.Length, origin, factors, election, whole, output),
            DType.BF16 => ElectSigns<L, BF16>(rows, inputs.Length, origin, factors, election, whole, output),
            DType other => throw Rounding.NotComputed(other),
        };
        if (whole == length)
            return isFinite;
        // the last elements, and zeros, which never count
        double* rest = stackalloc double[inputs.Length * Lanes];
        for (int k = 0; k < inputs.Length; k++)
        {
            WidenToTile<L>(inputs[k], whole, length - whole, rest + k * Lanes);
            for (int i = 0; i < length - whole && origin != null; i++)
                rest[k * Lanes + i] -= origin[whole + i];
            rows[k] = (byte*)(rest + k * Lanes);
        }

        return ElectSigns<L, F64>(rows, inputs.Length, null, factors, election, Lanes, output + whole) && isFinite;
    }

    private static bool ElectSigns<L, E>(
        byte** inputs, int count, double* origin, in ElectionFactors factors, SignElection election, int length, double* output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement => (election.Sum, election.Divisor) switch
        {
            (ElectedSum.Weighted, ElectionDivisor.Weights) => Elect<L, E, One, One>(inputs, count, origin, factors, length, output),
            (ElectedSum.Weighted, ElectionDivisor.Count) => Elect<L, E, One, Two>(inputs, count, origin, factors, length, output),
            (ElectedSum.Weighted, _) => Elect<L, E, One, Four>(inputs, count, origin, factors, length, output),
            (ElectedSum.Plain, ElectionDivisor.Weights) => Elect<L, E, Two, One>(inputs, count, origin, factors, length, output),
            (ElectedSum.Plain, ElectionDivisor.Count) => Elect<L, E, Two, Two>(inputs, count, origin, factors, length, output),
            (ElectedSum.Plain, _) => Elect<L, E, Two, Four>(inputs, count, origin, factors, length, output),
            (_, ElectionDivisor.Weights) => Elect<L, E, Four, One>(inputs, count, origin, factors, length, output),
            (_, ElectionDivisor.Count) => Elect<L, E, Four, Two>(inputs, count, origin, factors, length, output),
            _ => Elect<L, E, Four, Four>(inputs, count, origin, factors, length, output),
        };

    /// <summary>
    /// The kernel. The elected sum is weighted (One), plain (Two) or a count (Four); the divisor is the weights (One),
    /// a count (Two) or nothing (Four).
    /// </summary>
    [MethodImpl(Kernel)]
    private static bool Elect<L, E, S, D>(byte** inputs, int count, double* origin, in ElectionFactors factors, int length, double* output)
        where L : unmanaged, ILanes<L>
        where E : struct, IElement
        where S : struct, ICount
        where D : struct, ICount
    {
        double* weights = factors.Weights, bounds = factors.Bounds, negative = factors.NegativeBounds;
        L zero = L.Broadcast(0), one = L.Broadcast(1), check = zero;
        for (nint i = 0; i < length; i += Lanes)
        {
            L x = origin == null ? zero : L.Load(origin + i);
            L plus = zero, minus = zero, plainPlus = zero, plainMinus = zero;
            L plusWeight = zero, minusWeight = zero, plusCount = zero, minusCount = zero;
            for (int k = 0; k < count; k++)
            {
                L d = L.Subtract(LoadAndPrefetch<L, E>(inputs[k] + i * E.Size), x), w = L.Broadcast(weights[k]);
                L least = L.Broadcast(bounds[k]), most = L.Broadcast(negative[k]);
                // 0 times a value that is not finite is NaN
                check = L.FusedMultiplyAdd(d, zero, check);
                plus = L.MultiplyAddWhereLess(least, d, d, w, plus);
                minus = L.MultiplyAddWhereLess(d, most, d, w, minus);
                if (S.Value == 2)
                {
                    plainPlus = L.AddWhereLess(least, d, d, plainPlus);
                    plainMinus = L.AddWhereLess(d, most, d, plainMinus);
                }

                if (D.Value == 1)
                {
                    plusWeight = L.AddWhereLess(least, d, w, plusWeight);
                    minusWeight = L.AddWhereLess(d, most, w, minusWeight);
                }

                if (S.Value == 4 || D.Value == 2)
                {
                    plusCount = L.AddWhereLess(least, d, one, plusCount);
                    minusCount = L.AddWhereLess(d, most, one, minusCount);
                }
            }

            L up = S.Value == 1 ? plus : S.Value == 2 ? plainPlus : plusCount;
            L down = S.Value == 1 ? minus : S.Value == 2 ? plainMinus : L.Subtract(zero, minusCount);
            L isNegative = L.LessThan(L.Add(up, down), L.Multiply(L.Subtract(up, down), L.Broadcast(-SignElection.Zero)));
            L merged = L.Select(isNegative, minus, plus);
            if (D.Value != 4)
            {
                L divisor = D.Value == 1
                    ? L.Select(isNegative, minusWeight, plusWeight)
                    : L.Select(isNegative, minusCount, plusCount);
                // without agreeing updates the quotient would be NaN
                merged = L.And(L.Divide(merged, divisor), L.LessThan(zero, divisor));
            }

            L.Store(L.Multiply(merged, L.Broadcast(factors.Scale)), output + i);
        }

        return double.IsFinite(L.Sum(check));
    }

    /// <summary>The weights and bounds of the inputs, and the factor of the result.</summary>
    private struct ElectionFactors
    {
        public double* Weights, Bounds, NegativeBounds;
        public double Scale;
    }
}
