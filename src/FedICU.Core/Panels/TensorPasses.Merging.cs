using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

// passes that merge updates: an election of signs, and sums of masked updates
internal sealed unsafe partial class TensorPasses
{
    // the elements that are merged at a time
    private const int MergedElements = SimdBackend.UpdateTile;

    /// <summary>
    /// Writes x + u, where u merges the updates' largest magnitudes by their elected signs.
    /// </summary>
    /// <param name="inputs">The updates, with the global model.</param>
    /// <param name="weights">The clients' weights.</param>
    /// <param name="election">How signs are elected.</param>
    /// <param name="cuts">The largest magnitudes of each client; the others count as 0.</param>
    /// <param name="masked">Masks and factors of the updates; null for none.</param>
    public void ElectSigns(
        BlockInputs inputs, double[] weights, SignElection election, MagnitudeCut[] cuts, MaskedUpdates? masked = null) => WritePanels(
        inputs.Readers, GroupingBy(NormAxis.Tensor), (settings, inputs, weights, election, cuts, masked),
        static (pass, _, panels, panel, output) =>
        {
            (PassSettings settings, BlockInputs inputs, double[] weights, SignElection election, MagnitudeCut[] cuts,
                MaskedUpdates? masked) = pass;
            settings.Work.AddOnCpu(panels, panel.Length);
            int clients = inputs.Clients;
            using var memory = new NativeBuffer((clients + 2L) * MergedElements * sizeof(double), pressure: false);
            double* merged = (double*)memory.Pointer, origins = merged + MergedElements, tile = origins + MergedElements;
            var rows = new TensorPanel[clients];
            double[] bounds = new double[clients];
            // inputs of several types are widened first
            bool isMixed = masked is not null || HasSeveralTypes(panels[..clients]);
            long nonFinite = 0;
            for (int start = 0; start < panel.Length; start += MergedElements)
            {
                int count = Math.Min(MergedElements, panel.Length - start);
                double* origin = WidenOrigin(inputs, panels, start, count, origins);
                bool isWidened = isMixed;
                for (int k = 0; k < clients; k++)
                {
                    bounds[k] = cuts[k].FindBound(panel.Start + start, count, out bool splits);
                    isWidened |= splits;
                    rows[k] = panels[k].From(start);
                }

                for (int k = 0; k < clients && isWidened; k++)
                {
                    double* row = tile + (long)k * MergedElements;
                    nonFinite += Cpu.WidenUpdate(rows[k], origin, count, row) ? 0 : 1;
                    masked?.Apply(k, panel.Start + start, new Span<double>(row, count));
                    cuts[k].ClearOthers(panel.Start + start, new Span<double>(row, count));
                    rows[k] = new TensorPanel(row, DType.F64);
                }

                nonFinite += Cpu.ElectSigns(rows, isWidened ? null : origin, weights, bounds, election, count, merged) ? 0 : 1;
                nonFinite += AddToGlobal(inputs, panels, merged, start, count, output);
            }

            return nonFinite;
        });

    /// <summary>
    /// Writes x + sum_k factors[k] d_k, where an entry of d_k counts if its random number is below a limit.
    /// </summary>
    /// <param name="inputs">The updates, with the global model.</param>
    /// <param name="numbers">The clients' random numbers.</param>
    /// <param name="limit">The limit; from 1 on every entry counts.</param>
    /// <param name="factors">The clients' factors.</param>
    public void AddMasked(BlockInputs inputs, UniformNumbers[] numbers, double limit, double[] factors) => WritePanels(
        inputs.Readers, GroupingBy(NormAxis.Tensor), (settings, inputs, numbers, limit, factors), static (pass, _, panels, panel, output) =>
        {
            (PassSettings settings, BlockInputs inputs, UniformNumbers[] numbers, double limit, double[] factors) = pass;
            settings.Work.AddOnCpu(panels, panel.Length);
            double* sums = stackalloc double[2 * MergedElements], origins = sums + MergedElements;
            long nonFinite = 0;
            for (int start = 0, count; start < panel.Length; start += count)
            {
                long index = panel.Start + start;
                // to the next index whose upper 32 bits differ
                count = (int)Math.Min(Math.Min(MergedElements, panel.Length - start), ((index >> 32) + 1 << 32) - index);
                double* origin = WidenOrigin(inputs, panels, start, count, origins);
                new Span<double>(sums, MergedElements).Clear();
                for (int k = 0; k < inputs.Clients; k++)
                    nonFinite += Cpu.AddMasked(panels[k].From(start), origin, numbers[k], index, limit, factors[k], count, sums) ? 0 : 1;

                nonFinite += AddToGlobal(inputs, panels, sums, start, count, output);
            }

            return nonFinite;
        });

    private static bool HasSeveralTypes(ReadOnlySpan<TensorPanel> panels)
    {
        foreach (TensorPanel panel in panels)
        {
            if (panel.DType != panels[0].DType)
                return true;
        }

        return false;
    }
}
