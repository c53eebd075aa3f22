using System.Runtime.Intrinsics;
using FedICU.Compute.Simd;

namespace FedICU.Compute;

/// <summary>
/// The verbs in vector registers, 512, 256 or 128 bits wide as the processor has them. All widths give the same bits, and so does software where a
/// processor lacks an instruction. Uses the calling thread only.
/// </summary>
public sealed unsafe class SimdBackend : IComputeBackend
{
    private readonly IComputeBackend _verbs;

    /// <summary>Takes the widest registers that the processor has.</summary>
    public SimdBackend() : this(Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128)
    {
    }

    /// <summary>Takes registers of a given width, which are emulated where the processor lacks them.</summary>
    internal SimdBackend(int width)
    {
        Width = width;
        _verbs = width switch
        {
            512 => new SimdVerbs<Lanes512>(),
            256 => new SimdVerbs<Lanes256>(),
            128 => new SimdVerbs<Lanes128>(),
            _ => throw new ArgumentOutOfRangeException(nameof(width), width, "128, 256 or 512"),
        };
    }

    /// <summary>Bits of a register.</summary>
    internal int Width { get; }

    /// <inheritdoc/>
    public string Name => _verbs.Name;

    /// <inheritdoc/>
    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output) =>
        _verbs.WeightedSum(inputs, weights, divisor, length, output);

    /// <inheritdoc/>
    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums) => _verbs.AddSquares(inputs, geometry, sums);

    /// <inheritdoc/>
    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams) => _verbs.AddGram(inputs, geometry, grams);

    /// <inheritdoc/>
    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots) =>
        _verbs.AddProjections(inputs, geometry, a, b, dots);

    /// <inheritdoc/>
    public long Combine(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output, double* squares) =>
        _verbs.Combine(inputs, geometry, coefficients, scales, output, squares);

    /// <inheritdoc/>
    public long CountNonFinite(TensorPanel input, int length) => _verbs.CountNonFinite(input, length);

    /// <inheritdoc/>
    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global) =>
        _verbs.AddMoments(inputs, length, ref update, ref global);

    /// <inheritdoc/>
    public long SelectImportant(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum) =>
        _verbs.SelectImportant(inputs, length, update, global, mask, momentum);

    /// <inheritdoc/>
    public void Importance(in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid, double* updateImportance, double* globalImportance) =>
        _verbs.Importance(inputs, length, update, global, sigmoid, updateImportance, globalImportance);

    /// <inheritdoc/>
    public long Pack(TensorPanel source, int length, byte* mask, void* packed) => _verbs.Pack(source, length, mask, packed);

    /// <inheritdoc/>
    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient) =>
        _verbs.AddProximal(local, global, mu, length, gradient);
}
