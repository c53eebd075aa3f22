using FedICU.Compute;
using ILGPU;
using ILGPU.Runtime;

namespace FedICU.Gpu.Kernels;

/// <summary>
/// The weighted sum of the inputs, divided and rounded once. One thread computes an output from all inputs, in their
/// order, so the bits do not depend on the device.
/// </summary>
internal static class WeightedSumKernels
{
    /// <summary>
    /// Computes output[i] = round(sum_k weights[k] x_k[i] / divisor) in the inputs' type, 16 bytes at a time, and
    /// counts the results that are not finite in each block. All inputs and the output must start and end at multiples
    /// of 16 bytes.
    /// </summary>
    public static void WeightedSum<T>(
        DeviceInputs inputs, ArrayView<double> weights, double divisor, long length, ArrayView<byte> output, ArrayView<int> counts)
        where T : struct, IElement
    {
        int perWords = Words.Bytes / T.Size, nonFinite = 0;
        ArrayView<Words> words = inputs.Data.AsAligned(Words.Bytes).Cast<Words>();
        ArrayView<Words> written = output.AsAligned(Words.Bytes).Cast<Words>();
        long threads = (long)Grid.DimX * Group.DimX;
        for (long i = Grid.GlobalLinearIndex; i * perWords < length; i += threads)
        {
            Values x = T.Widen(words[(inputs.Offsets[0] >> Words.Log2Bytes) + i]);
            double weight = weights[0];
            var sum = new Values
            {
                V0 = weight * x.V0,
                V1 = weight * x.V1,
                V2 = weight * x.V2,
                V3 = weight * x.V3,
                V4 = weight * x.V4,
                V5 = weight * x.V5,
                V6 = weight * x.V6,
                V7 = weight * x.V7,
            };
            for (int k = 1; k < inputs.Count; k++)
            {
                x = T.Widen(words[(inputs.Offsets[k] >> Words.Log2Bytes) + i]);
                weight = weights[k];
                sum.V0 = DeviceMath.Fma(weight, x.V0, sum.V0);
                sum.V1 = DeviceMath.Fma(weight, x.V1, sum.V1);
                if (perWords > 2)
                {
                    sum.V2 = DeviceMath.Fma(weight, x.V2, sum.V2);
                    sum.V3 = DeviceMath.Fma(weight, x.V3, sum.V3);
                }

                if (perWords > 4)
                {
                    sum.V4 = DeviceMath.Fma(weight, x.V4, sum.V4);
                    sum.V5 = DeviceMath.Fma(weight, x.V5, sum.V5);
                    sum.V6 = DeviceMath.Fma(weight, x.V6, sum.V6);
                    sum.V7 = DeviceMath.Fma(weight, x.V7, sum.V7);
                }
            }

            sum.V0 /= divisor;
            sum.V1 /= divisor;
            if (perWords > 2)
            {
                sum.V2 /= divisor;
                sum.V3 /= divisor;
            }

            if (perWords > 4)
            {
                sum.V4 /= divisor;
                sum.V5 /= divisor;
                sum.V6 /= divisor;
                sum.V7 /= divisor;
            }

            Words rounded = T.Round(sum);
            written[i] = rounded;
            // counts what was written: a finite sum can round to infinity in the output's type
            Values back = T.Widen(rounded);
            long remaining = length - i * perWords;
            nonFinite += CountNonFinite(back.V0, remaining > 0) + CountNonFinite(back.V1, remaining > 1);
            if (perWords > 2)
                nonFinite += CountNonFinite(back.V2, remaining > 2) + CountNonFinite(back.V3, remaining > 3);
            if (perWords > 4)
            {
                nonFinite += CountNonFinite(back.V4, remaining > 4) + CountNonFinite(back.V5, remaining > 5)
                    + CountNonFinite(back.V6, remaining > 6) + CountNonFinite(back.V7, remaining > 7);
            }
        }

        Blocks.Sum(nonFinite, counts);
    }

    /// <summary>
    /// Computes the same as <see cref="WeightedSum{T}"/>, one element at a time and into any type. If an element is not
    /// finite, it is computed again with the weights and the divisor times <paramref name="scale"/>.
    /// </summary>
    public static void WeightedSumTo<T, TOut>(
        DeviceInputs inputs, ArrayView<double> weights, double divisor, double scale, long length, ArrayView<byte> output,
        ArrayView<int> counts)
        where T : struct, IElement where TOut : struct, IElement
    {
        int nonFinite = 0;
        long threads = (long)Grid.DimX * Group.DimX;
        for (long i = Grid.GlobalLinearIndex; i < length; i += threads)
        {
            double mean = Mean<T>(inputs, weights, divisor, 1, i);
            if (!DeviceMath.IsFinite(mean) && scale != 1)
                mean = Mean<T>(inputs, weights, divisor, scale, i);
            nonFinite += TOut.Write(output, i, mean);
        }

        Blocks.Sum(nonFinite, counts);
    }

    private static double Mean<T>(DeviceInputs inputs, ArrayView<double> weights, double divisor, double scale, long i)
        where T : struct, IElement
    {
        double sum = weights[0] * scale * inputs.Read<T>(0, i);
        for (int k = 1; k < inputs.Count; k++)
            sum = DeviceMath.Fma(weights[k] * scale, inputs.Read<T>(k, i), sum);
        return scale == 1 ? sum / divisor : SumScale.Quotient(sum, divisor * scale, inputs.Count);
    }

    private static int CountNonFinite(double value, bool isElement) => isElement && !DeviceMath.IsFinite(value) ? 1 : 0;
}
