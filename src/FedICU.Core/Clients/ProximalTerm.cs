using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Computes FedProx's proximal term at a client: mu/2 ||w - x||^2 for the loss and mu (w - x) for its gradient. w are
/// the weights in training and x the received weights (Li et al. 2020, equation 2).
/// </summary>
public sealed class ProximalTerm
{
    private readonly IClientBackend _backend;

    /// <summary>Creates the term.</summary>
    /// <param name="mu">The strength of the term, finite and at least 0.</param>
    /// <param name="backend">The backend that computes; null for SIMD.</param>
    /// <exception cref="InvalidOptionsException"><paramref name="mu"/> is negative or not finite.</exception>
    public ProximalTerm(double mu, IClientBackend? backend = null)
    {
        new FedProxOptions { Mu = mu }.Validate();
        (Mu, _backend) = (mu, backend ?? new SimdBackend());
    }

    /// <summary>Gets the strength of the term, mu.</summary>
    public double Mu { get; }

    /// <summary>Computes mu/2 ||w - x||^2 of one tensor. The term of a model is the sum over its tensors.</summary>
    /// <typeparam name="T">float, double, <see cref="Half"/>, or <see cref="ushort"/> for bf16.</typeparam>
    /// <param name="local">The weights w.</param>
    /// <param name="global">The received weights x, of the same length.</param>
    /// <exception cref="ArgumentException">The lengths differ, or the type is not supported.</exception>
    public double Value<T>(ReadOnlySpan<T> local, ReadOnlySpan<T> global) where T : unmanaged => Run(local, global, []);

    /// <summary>Adds mu (w - x) to a tensor's gradient in place, and returns mu/2 ||w - x||^2.</summary>
    /// <typeparam name="T">float, double, <see cref="Half"/>, or <see cref="ushort"/> for bf16.</typeparam>
    /// <param name="local">The weights w.</param>
    /// <param name="global">The received weights x, of the same length.</param>
    /// <param name="gradient">The gradient of the loss, of the same length.</param>
    /// <exception cref="ArgumentException">The lengths differ, or the type is not supported.</exception>
    public double AddGradient<T>(ReadOnlySpan<T> local, ReadOnlySpan<T> global, Span<T> gradient) where T : unmanaged
    {
        if (gradient.Length != local.Length)
        {
            throw new ArgumentException(
                $"The gradient has {Sentence.Count(gradient.Length, "element")}, the weights {local.Length}.", nameof(gradient));
        }

        return Run(local, global, gradient);
    }

    private unsafe double Run<T>(ReadOnlySpan<T> local, ReadOnlySpan<T> global, Span<T> gradient) where T : unmanaged
    {
        if (local.Length != global.Length)
        {
            throw new ArgumentException(
                $"The trained weights have {Sentence.Count(local.Length, "element")}, the received ones {global.Length}.", nameof(global));
        }

        DType dtype = default(T) switch
        {
            double => DType.F64,
            float => DType.F32,
            Half => DType.F16,
            ushort => DType.BF16,
            _ => throw new ArgumentException(
                $"The weights are {typeof(T).Name}; double, float, Half or ushort (bf16) was expected.", nameof(local)),
        };
        fixed (T* w = local, x = global, g = gradient)
        {
            double square = _backend.AddProximal(
                new TensorPanel(w, dtype), new TensorPanel(x, dtype), Mu, local.Length, new TensorPanel(g, dtype));
            return dtype == DType.F64 && !double.IsFinite(square) ? ValueOfScaled((double*)w, (double*)x, local.Length) : Mu / 2 * square;
        }
    }

    /// <summary>
    /// Computes the value from scaled weights, because the sum of their squares overflows float64; the value itself may
    /// be finite.
    /// </summary>
    private unsafe double ValueOfScaled(double* local, double* global, int length)
    {
        using NativeBuffer w = new((long)length * sizeof(double)), x = new((long)length * sizeof(double));
        TensorPrimitives.Multiply(new ReadOnlySpan<double>(local, length), SumScale.Down, new Span<double>(w.Pointer, length));
        TensorPrimitives.Multiply(new ReadOnlySpan<double>(global, length), SumScale.Down, new Span<double>(x.Pointer, length));
        double square = _backend.AddProximal(
            new TensorPanel(w.Pointer, DType.F64), new TensorPanel(x.Pointer, DType.F64), 0, length, default);
        return Mu / 2 * square * SumScale.Up * SumScale.Up;
    }
}
