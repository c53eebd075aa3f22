using ILGPU;

namespace FedICU.Gpu.Kernels;

/// <summary>FedProx's proximal term.</summary>
internal static class ProximalKernels
{
    /// <summary>
    /// Adds d^2 with d = local - global (inputs 0 and 1) in <c>sums.Length</c> parts, and computes
    /// gradient = round(fma(mu, d, gradient)).
    /// </summary>
    /// <param name="models">The local model, then the global one.</param>
    /// <param name="mu">The strength of the term.</param>
    /// <param name="length">The number of elements.</param>
    /// <param name="gradient">The gradient, changed in place; empty to change none.</param>
    /// <param name="sums">The partial sums.</param>
    public static void Proximal<T, TGradient>(
        DeviceInputs models, double mu, long length, ArrayView<byte> gradient, ArrayView<double> sums)
        where T : struct, IElement where TGradient : struct, IElement
    {
        // a part belongs to an index of sums and not to a thread, so the order does not depend on how many threads run
        for (long part = Grid.GlobalLinearIndex; part < sums.Length; part += (long)Grid.DimX * Group.DimX)
        {
            double sum = 0;
            for (long i = part; i < length; i += sums.Length)
            {
                double d = models.Read<T>(0, i) - models.Read<T>(1, i);
                sum = DeviceMath.Fma(d, d, sum);
                if (gradient.Length > 0)
                    TGradient.Write(gradient, i, DeviceMath.Fma(mu, d, TGradient.Read(gradient, i)));
            }

            sums[part] = sum;
        }
    }
}
