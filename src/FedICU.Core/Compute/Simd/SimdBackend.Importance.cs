using System.Runtime.CompilerServices;
using FedICU.Compute.Reference;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

// SelectImportant and Importance. They read three panels at most, of any types: each is widened to a short tile first.
public sealed unsafe partial class SimdBackend
{
    /// <summary>
    /// Elements of a short tile. Chosen: divides <see cref="MagnitudeMoments.Block"/>, and three tiles (12 KiB) fit the
    /// L1 cache.
    /// </summary>
    private const int ShortTile = 512;

    private const int ShortTileBytes = ShortTile * sizeof(double);

    /// <inheritdoc/>
    public long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask,
        TensorPanel momentum) => Width switch
        {
            512 => SelectImportant<Lanes512>(inputs, length, update, global, mask, momentum),
            256 => SelectImportant<Lanes256>(inputs, length, update, global, mask, momentum),
            _ => SelectImportant<Lanes128>(inputs, length, update, global, mask, momentum),
        };

    [SkipLocalsInit]
    private static long SelectImportant<L>(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
        where L : unmanaged, ILanes<L>
    {
        byte* storage = stackalloc byte[3 * ShortTileBytes + Slack];
        double* scratch = Align(storage);
        long selected = 0;
        for (int start = 0; start < length; start += ShortTile)
        {
            int count = Math.Min(ShortTile, length - start);
            LoadUpdateAndGlobal<L>(inputs, start, count, scratch, out double* u, out double* g);
            selected += SelectBits<L>(u, g, count, update, global, mask == null ? null : mask + start / 8);
            if (momentum.Data != null)
                RoundTile<L>(u, 1, momentum, start, count);
        }

        return selected;
    }

    /// <summary>Writes the mask of a tile, unless it is null; returns how many bits are set.</summary>
    [MethodImpl(Kernel)]
    private static long SelectBits<L>(double* u, double* g, int count, ImportanceScale update, ImportanceScale global, byte* mask)
        where L : unmanaged, ILanes<L>
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

    /// <inheritdoc/>
    public void Importance(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
        double* globalImportance)
    {
        switch (Width)
        {
            case 512: Importance<Lanes512>(inputs, length, update, global, sigmoid, updateImportance, globalImportance); break;
            case 256: Importance<Lanes256>(inputs, length, update, global, sigmoid, updateImportance, globalImportance); break;
            default: Importance<Lanes128>(inputs, length, update, global, sigmoid, updateImportance, globalImportance); break;
        }
    }

    [SkipLocalsInit]
    private static void Importance<L>(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance,
        double* globalImportance)
        where L : unmanaged, ILanes<L>
    {
        byte* storage = stackalloc byte[3 * ShortTileBytes + Slack];
        double* scratch = Align(storage);
        for (int start = 0; start < length; start += ShortTile)
        {
            int count = Math.Min(ShortTile, length - start);
            LoadUpdateAndGlobal<L>(inputs, start, count, scratch, out double* u, out double* g);
            if (updateImportance != null)
                StoreImportance<L>(u, count, update, sigmoid, updateImportance + start);
            if (globalImportance != null)
                StoreImportance<L>(g, count, global, sigmoid, globalImportance + start);
        }
    }

    [MethodImpl(Kernel)]
    private static void StoreImportance<L>(double* x, int count, ImportanceScale scale, bool sigmoid, double* importance)
        where L : unmanaged, ILanes<L>
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

    /// <summary>
    /// Returns u and g as float64, readable up to a multiple of eight elements: in the scratch memory (three short
    /// tiles), or in the panel itself.
    /// </summary>
    private static void LoadUpdateAndGlobal<L>(
        in ImportanceInputs inputs, int start, int count, double* scratch, out double* u, out double* g)
        where L : unmanaged, ILanes<L>
    {
        g = Widen<L>(inputs.Global, start, count, scratch);
        u = scratch + ShortTile;
        switch (inputs.Rule)
        {
            case MomentumRule.Supplied:
                u = Widen<L>(inputs.Momentum, start, count, u);
                break;
            case MomentumRule.None:
                ComputeUpdate<L>(Widen<L>(inputs.Local, start, count, u), g, null, 1, 0, count, u);
                break;
            case MomentumRule.Ema:
                double* local = Widen<L>(inputs.Local, start, count, u);
                double* momentum = Widen<L>(inputs.Momentum, start, count, u + ShortTile);
                ComputeUpdate<L>(local, g, momentum, 1 - inputs.Beta, inputs.Beta, count, u);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(inputs), inputs.Rule, "no such rule");
        }
    }

    /// <summary>Computes u = local - global, or with a momentum fma(beta, momentum, rest * (local - global)).</summary>
    [MethodImpl(Kernel)]
    private static void ComputeUpdate<L>(double* local, double* global, double* momentum, double rest, double beta, int count, double* u)
        where L : unmanaged, ILanes<L>
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
}
