using FedICU.Compute;

namespace FedICU.Tests.Compute;

/// <summary>The reference backend with a small fault in one verb, which a verification must find.</summary>
internal sealed unsafe class FaultyBackend(string verb) : IClientBackend
{
    private readonly ReferenceBackend _right = new();

    public string Name => "faulty";

    public long WeightedSum(ReadOnlySpan<TensorPanel> inputs, ReadOnlySpan<double> weights, double divisor, int length, TensorPanel output)
    {
        // one bit of an element is wrong, or one element too many is written
        long nonFinite = _right.WeightedSum(inputs, weights, divisor, length, output);
        if (verb == nameof(WeightedSum) && length > 0)
            *(byte*)output.Data ^= 1;
        if (verb == "Overrun")
            ((byte*)output.Data)[length * Size(output.DType)] = 0;
        return nonFinite;
    }

    public void AddSquares(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues sums)
    {
        _right.AddSquares(inputs, geometry, sums);
        if (verb == nameof(AddSquares))
            sums.Data[0] *= 1 + 1e-6;
    }

    public void AddGram(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues grams)
    {
        _right.AddGram(inputs, geometry, grams);
        if (verb == nameof(AddGram))
            grams.Data[0] *= 1 + 1e-6;
    }

    public void AddProjections(ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues a, GroupValues b, Span<double> dots)
    {
        _right.AddProjections(inputs, geometry, a, b, dots);
        if (verb == nameof(AddProjections))
            dots[^1] += 1e-3;
    }

    public long Combine(
        ReadOnlySpan<TensorPanel> inputs, PanelGeometry geometry, GroupValues coefficients, double* scales, TensorPanel output,
        double* squares)
    {
        // squares are overwritten instead of added to
        if (verb == nameof(Combine) && squares != null)
            new Span<double>(squares, geometry.Groups).Clear();
        return _right.Combine(inputs, geometry, coefficients, scales, output, squares);
    }

    public long MiddleMean(ReadOnlySpan<TensorPanel> inputs, int trim, int length, TensorPanel output)
    {
        // nothing is trimmed
        return _right.MiddleMean(inputs, verb == nameof(MiddleMean) ? 0 : trim, length, output);
    }

    public void AddPairDistances(ReadOnlySpan<TensorPanel> inputs, int length, Span<double> sums)
    {
        _right.AddPairDistances(inputs, length, sums);
        if (verb == nameof(AddPairDistances) && sums.Length > 0)
            sums[^1] *= 1 + 1e-6;
    }

    public void AddDistances(
        ReadOnlySpan<TensorPanel> inputs, TensorPanel origin, TensorPanel direction, int length, Span<double> squares,
        Span<double> products)
    {
        // the direction is not taken from the origin
        if (verb == nameof(AddDistances) && direction.Data != null)
        {
            _right.AddDistances(inputs, origin, default, length, squares, []);
            _right.AddDistances(inputs, default, direction, length, new double[inputs.Length], products);
            return;
        }

        _right.AddDistances(inputs, origin, direction, length, squares, products);
    }

    public long CountNonFinite(TensorPanel input, int length) =>
        _right.CountNonFinite(input, length) + (verb == nameof(CountNonFinite) && length == 257 ? 1 : 0);

    public void AddMoments(in ImportanceInputs inputs, int length, ref MagnitudeMoments update, ref MagnitudeMoments global)
    {
        // the update and the global model are exchanged
        if (verb == nameof(AddMoments))
            _right.AddMoments(inputs, length, ref global, ref update);
        else
            _right.AddMoments(inputs, length, ref update, ref global);
    }

    public long SelectImportant(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, byte* mask, TensorPanel momentum)
    {
        long selected = _right.SelectImportant(inputs, length, update, global, mask, momentum);
        if (verb == nameof(SelectImportant) && mask != null && length == 4099)
            mask[100] ^= 0x10;
        return selected;
    }

    public void Importance(
        in ImportanceInputs inputs, int length, ImportanceScale update, ImportanceScale global, bool sigmoid,
        double* updateImportance, double* globalImportance) =>
        _right.Importance(inputs, length, update, global, sigmoid != (verb == nameof(Importance)), updateImportance, globalImportance);

    public long Pack(TensorPanel source, int length, byte* mask, void* packed)
    {
        long count = _right.Pack(source, length, mask, packed);
        if (verb == nameof(Pack) && length == 4099)
            ((byte*)packed)[count] ^= 1;
        return count;
    }

    public double AddProximal(TensorPanel local, TensorPanel global, double mu, int length, TensorPanel gradient) =>
        _right.AddProximal(local, global, verb == nameof(AddProximal) ? -mu : mu, length, gradient);

    private static int Size(DType dtype) => dtype.BitSize / 8;
}
