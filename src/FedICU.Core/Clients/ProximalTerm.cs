using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// FedProx's part of the client: adds mu/2 ||w - x||^2 to the loss and mu (w - x) to its gradient, w the weights being trained and x the weights
/// received (Li et al. 2020, equation 2).
/// </summary>
public sealed class ProximalTerm
{
    private readonly IClientBackend _backend;

    /// <summary>Makes the term.</summary>
    /// <param name="mu">Its strength, finite and at least 0.</param>
    /// <param name="backend">What computes; null: SIMD.</param>
    /// <exception cref="InvalidOptionsException">mu is negative or not finite.</exception>
    public ProximalTerm(double mu, IClientBackend? backend = null)
    {
        new FedProxOptions { Mu = mu }.Validate();
        (Mu, _backend) = (mu, backend ?? new SimdBackend());
    }

    /// <summary>The strength of the term.</summary>
    public double Mu { get; }

    /// <summary>mu/2 ||w - x||^2 of one tensor; the values of several tensors add up.</summary>
    /// <param name="local">w: float, double, <see cref="Half"/>, or <see cref="ushort"/> for bf16.</param>
    /// <param name="global">x, of the same length.</param>
    /// <exception cref="ArgumentException">The lengths differ, or the type is none of the four.</exception>
    public double Value<T>(ReadOnlySpan<T> local, ReadOnlySpan<T> global) where T : unmanaged => Run(local, global, []);

    /// <summary>Adds mu (w - x) to a gradient of one tensor, in place, and returns mu/2 ||w - x||^2.</summary>
    /// <param name="local">w: float, double, <see cref="Half"/>, or <see cref="ushort"/> for bf16.</param>
    /// <param name="global">x, of the same length.</param>
    /// <param name="gradient">The loss's gradient, of the same length; added to.</param>
    /// <exception cref="ArgumentException">The lengths differ, or the type is none of the four.</exception>
    public double AddGradient<T>(ReadOnlySpan<T> local, ReadOnlySpan<T> global, Span<T> gradient) where T : unmanaged
    {
        if (gradient.Length != local.Length)
            throw new ArgumentException($"The gradient has {Sentence.Count(gradient.Length, "element")}, the weights {local.Length}.", nameof(gradient));
        return Run(local, global, gradient);
    }

    private unsafe double Run<T>(ReadOnlySpan<T> local, ReadOnlySpan<T> global, Span<T> gradient) where T : unmanaged
    {
        if (local.Length != global.Length)
            throw new ArgumentException($"The trained weights have {Sentence.Count(local.Length, "element")}, the received ones {global.Length}.", nameof(global));
        DType dtype = default(T) switch
        {
            double => DType.F64,
            float => DType.F32,
            Half => DType.F16,
            ushort => DType.BF16,
            _ => throw new ArgumentException($"{typeof(T).Name} is none of double, float, Half and ushort (bf16).", nameof(local)),
        };
        fixed (T* w = local, x = global, g = gradient)
        {
            double square = _backend.AddProximal(new TensorPanel(w, dtype), new TensorPanel(x, dtype), Mu, local.Length, new TensorPanel(g, dtype));
            return dtype == DType.F64 && !double.IsFinite(square) ? ValueOfScaled((double*)w, (double*)x, local.Length) : Mu / 2 * square;
        }
    }

    /// <summary>The same where the sum of squares is larger than float64 holds, and the value may not be.</summary>
    private unsafe double ValueOfScaled(double* local, double* global, int length)
    {
        using NativeBuffer w = new((long)length * sizeof(double)), x = new((long)length * sizeof(double));
        TensorPrimitives.Multiply(new ReadOnlySpan<double>(local, length), SumScale.Down, new Span<double>(w.Pointer, length));
        TensorPrimitives.Multiply(new ReadOnlySpan<double>(global, length), SumScale.Down, new Span<double>(x.Pointer, length));
        double square = _backend.AddProximal(new TensorPanel(w.Pointer, DType.F64), new TensorPanel(x.Pointer, DType.F64), 0, length, default);
        return Mu / 2 * square * SumScale.Up * SumScale.Up;
    }
}
