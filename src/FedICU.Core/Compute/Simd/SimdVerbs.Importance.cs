using System.Runtime.CompilerServices;
using FedICU.Compute.Reference;

namespace FedICU.Compute.Simd;

// Importances of a client's update, and FedProx's term. These read three panels at most, of any types: each is widened to a short tile first.
internal sealed unsafe partial class SimdVerbs<L>
{
    /// <summary>Elements of a tile here; divides <see cref="MagnitudeMoments.Block"/>.</summary>
    private const int ShortTile = 512;

    private const int ShortTileBytes = ShortTile * sizeof(double);

    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        for (int start = 0; start < length; start += MagnitudeMoments.Block)
            AddBlock(inputs, start, Math.Min(MagnitudeMoments.Block, length - start), ref update, ref global);
    }

    [SkipLocalsInit]
    private static void AddBlock(in ImportanceInputs inputs, int start, int count, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        const int Bytes = MagnitudeMoments.Block * sizeof(double);
        byte* storage = stackalloc byte[2 * Bytes + 3 * ShortTileBytes + Slack];
        double* updates = Align(storage), globals = updates + MagnitudeMoments.Block, scratch = globals + MagnitudeMoments.Block;
        for (int i = 0; i < count; i += ShortTile)
        {
            int n = Math.Min(ShortTile, count - i);
            Load(inputs, start + i, n, scratch, out double* u, out double* g);
            Magnitudes(u, updates + i, n);
            Magnitudes(g, globals + i, n);
        }

        Merge(updates, count, ref update);
        Merge(globals, count, ref global);
    }

    [MethodImpl(Kernel)]
    private static void Magnitudes(double* source, double* target, int count)
    {
        for (nint i = 0; i < count; i += Lanes)
            L.Store(L.Abs(L.Load(source + i)), target + i);
    }

    /// <summary>Moments of magnitudes: first their sum, minimum and maximum, then the squared deviations from the mean.</summary>
    [MethodImpl(Kernel)]
    private static void Merge(double* magnitudes, int count, ref MagnitudeMoments moments)
    {
        L sum = L.Broadcast(0), smallest = L.Broadcast(double.PositiveInfinity), largest = sum;
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
        {
            L x = L.Load(magnitudes + i);
            sum = L.Add(sum, x);
            smallest = L.Minimum(smallest, x);
            largest = L.Maximum(largest, x);
        }

        int rest = count - (int)i;
        sum = rest == 0 ? sum : L.Add(sum, Partial<L>.First(L.Load(magnitudes + i), rest));
        double minimum = L.Smallest(smallest), maximum = L.Largest(largest), total = L.Sum(sum);
        for (nint j = i; j < count; j++)
        {
            minimum = Math.Min(minimum, magnitudes[j]);
            maximum = Math.Max(maximum, magnitudes[j]);
        }

        // a sum of magnitudes is NaN where one of them is, and only there
        if (double.IsNaN(total))
            minimum = maximum = double.NaN;
        double mean = total / count;
        L center = L.Broadcast(mean);
        L squares = L.Broadcast(0);
        for (i = 0; i <= count - Lanes; i += Lanes)
        {
            L d = L.Subtract(L.Load(magnitudes + i), center);
            squares = L.FusedMultiplyAdd(d, d, squares);
        }

        if (rest > 0)
        {
            L d = Partial<L>.First(L.Subtract(L.Load(magnitudes + i), center), rest);
            squares = L.FusedMultiplyAdd(d, d, squares);
        }

        moments.Merge(count, mean, L.Sum(squares), minimum, maximum);
    }

    [SkipLocalsInit]
    public long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        byte* storage = stackalloc byte[3 * ShortTileBytes + Slack];
        double* scratch = Align(storage);
        long selected = 0;
        for (int start = 0; start < length; start += ShortTile)
        {
            int count = Math.Min(ShortTile, length - start);
            Load(inputs, start, count, scratch, out double* u, out double* g);
            selected += Select(u, g, count, update, global, mask == null ? null : mask + start / 8);
            if (momentum.Data != null)
                Finish(u, 1, momentum, start, count);
        }

        return selected;
    }

    [MethodImpl(Kernel)]
    private static long Select(double* u, double* g, int count, ImportanceScale update, ImportanceScale global, byte* mask)
    {
        L updateCenter = L.Broadcast(update.Center), updateSpread = L.Broadcast(update.Spread);
        L globalCenter = L.Broadcast(global.Center), globalSpread = L.Broadcast(global.Spread);
        L zero = L.Broadcast(0), one = L.Broadcast(1), tie = L.Broadcast(ScalarMath.Tie);
        long selected = 0;
        for (nint i = 0; i < count; i += Lanes)
        {
            uint bits = 0xFF;
            if (update.Spread == 0)
            {
                bits = L.LessThanBits(zero, L.Abs(L.Load(u + i)));
            }
            else if (global.Spread != 0)
            {
                L zu = L.Divide(L.Subtract(L.Abs(L.Load(u + i)), updateCenter), updateSpread);
                L zg = L.Divide(L.Subtract(L.Abs(L.Load(g + i)), globalCenter), globalSpread);
                bits = L.LessThanBits(L.Multiply(tie, L.Add(one, L.Abs(zg))), L.Subtract(zu, zg));
            }

            int rest = count - (int)i;
            if (rest < Lanes)
                bits &= (1u << rest) - 1;
            selected += uint.PopCount(bits);
            if (mask != null)
                mask[i / Lanes] = (byte)bits;
        }

        return selected;
    }

    [SkipLocalsInit]
    public void Importance(
        in ImportanceInputs inputs,
        int length,
        ImportanceScale update,
        ImportanceScale global,
        bool sigmoid,
        double* updateImportance,
        double* globalImportance)
    {
        byte* storage = stackalloc byte[3 * ShortTileBytes + Slack];
        double* scratch = Align(storage);
        for (int start = 0; start < length; start += ShortTile)
        {
            int count = Math.Min(ShortTile, length - start);
            Load(inputs, start, count, scratch, out double* u, out double* g);
            if (updateImportance != null)
                Importance(u, count, update, sigmoid, updateImportance + start);
            if (globalImportance != null)
                Importance(g, count, global, sigmoid, globalImportance + start);
        }
    }

    [MethodImpl(Kernel)]
    private static void Importance(double* x, int count, ImportanceScale scale, bool sigmoid, double* importance)
    {
        if (scale.Spread == 0)
        {
            new Span<double>(importance, count).Clear();
            return;
        }

        L center = L.Broadcast(scale.Center), spread = L.Broadcast(scale.Spread);
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
            L.Store(L.Divide(L.Subtract(L.Abs(L.Load(x + i)), center), spread), importance + i);
        for (; i < count; i++)
            importance[i] = (Math.Abs(x[i]) - scale.Center) / scale.Spread;
        if (sigmoid)
        {
            for (i = 0; i < count; i++)
                importance[i] = ScalarMath.Sigmoid(importance[i]);
        }
    }

    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        MaskBits.Pack(source.Data, source.DType.BitSize / 8, length, mask, packed);
        return MaskBits.Count(new ReadOnlySpan<byte>(mask, (length + 7) / 8));
    }

    [SkipLocalsInit]
    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient)
    {
        byte* storage = stackalloc byte[3 * ShortTileBytes + Slack];
        double* first = Align(storage), second = first + ShortTile, third = second + ShortTile;
        L lanes = L.Broadcast(0);
        for (int start = 0; start < length; start += ShortTile)
        {
            int count = Math.Min(ShortTile, length - start);
            double* w = Widen(local, start, count, first), x = Widen(global, start, count, second);
            Update(w, x, null, 1, 0, count, first);
            lanes = SquareTile(lanes, first, count);
            if (gradient.Data == null)
                continue;
            double* g = Widen(gradient, start, count, third);
            AddScaled(mu, first, g, count, third);
            Finish(third, 1, gradient, start, count);
        }

        return L.Sum(lanes);
    }

    /// <summary>target = fma(scale, x, y).</summary>
    [MethodImpl(Kernel)]
    private static void AddScaled(double scale, double* x, double* y, int count, double* target)
    {
        L by = L.Broadcast(scale);
        for (nint i = 0; i < count; i += Lanes)
            L.Store(L.FusedMultiplyAdd(by, L.Load(x + i), L.Load(y + i)), target + i);
    }

    /// <summary>The quantities u and g as float64, readable up to a multiple of eight: in the scratch (three short tiles) or where they lie.</summary>
    private static void Load(in ImportanceInputs inputs, int start, int count, double* scratch, out double* u, out double* g)
    {
        g = Widen(inputs.Global, start, count, scratch);
        u = scratch + ShortTile;
        switch (inputs.Rule)
        {
            case MomentumRule.Supplied:
                u = Widen(inputs.Momentum, start, count, u);
                break;
            case MomentumRule.None:
                Update(Widen(inputs.Local, start, count, u), g, null, 1, 0, count, u);
                break;
            case MomentumRule.Ema:
                double* local = Widen(inputs.Local, start, count, u);
                double* momentum = Widen(inputs.Momentum, start, count, u + ShortTile);
                Update(local, g, momentum, 1 - inputs.Beta, inputs.Beta, count, u);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(inputs), inputs.Rule, "no such rule");
        }
    }

    /// <summary>u = local - global, or with a momentum fma(beta, momentum, rest * (local - global)).</summary>
    [MethodImpl(Kernel)]
    private static void Update(double* local, double* global, double* momentum, double rest, double beta, int count, double* u)
    {
        L share = L.Broadcast(beta), others = L.Broadcast(rest);
        for (nint i = 0; i < count; i += Lanes)
        {
            L d = L.Subtract(L.Load(local + i), L.Load(global + i));
            if (momentum != null)
                d = L.FusedMultiplyAdd(share, L.Load(momentum + i), L.Multiply(others, d));
            L.Store(d, u + i);
        }
    }

    /// <summary>A run of a panel as float64, with zeros up to a multiple of eight: in the tile, or where it lies.</summary>
    private static double* Widen(TensorPanel panel, int start, int count, double* tile)
    {
        switch (panel.DType)
        {
            case DType.F64 when count % Lanes == 0:
                return (double*)panel.Data + start;
            case DType.F64:
                Widen<F64>((byte*)panel.Data + (nint)start * sizeof(double), count, tile);
                break;
            case DType.F32:
                Widen<F32>((byte*)panel.Data + (nint)start * sizeof(float), count, tile);
                break;
            case DType.F16:
                Widen<F16>((byte*)panel.Data + (nint)start * sizeof(ushort), count, tile);
                break;
            case DType.BF16:
                Widen<BF16>((byte*)panel.Data + (nint)start * sizeof(ushort), count, tile);
                break;
            default:
                throw Rounding.NotComputed(panel.DType);
        }

        return tile;
    }

    [MethodImpl(Kernel)]
    private static void Widen<E>(byte* source, int count, double* tile) where E : struct, IElement
    {
        nint i = 0;
        for (; i <= count - Lanes; i += Lanes)
            L.Store(Stream<E>(source + i * E.Size), tile + i);
        if (i < count)
            L.Store(Partial<L>.Load<E>(source + i * E.Size, count - (int)i), tile + i);
    }
}
