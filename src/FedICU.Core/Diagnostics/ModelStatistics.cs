using System.Buffers;
using FedICU.Compute;
using FedICU.Compute.Reference;
using FedICU.Text;

namespace FedICU;

/// <summary>
/// Computes statistics of a tensor, and the differences between two models' tensors. Tensors are read panel by panel,
/// never as a whole. Floats and integers are decoded; bool, floats of 8 bits and less, and complex numbers are compared
/// by their bytes.
/// </summary>
public static class ModelStatistics
{
    // bytes of a panel: chosen; must stay a multiple of every element's size
    private const int PanelBytes = 1 << 18;

    /// <summary>Computes the statistics of one tensor.</summary>
    /// <param name="model">The model.</param>
    /// <param name="tensor">One of its tensors.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="InvalidModelException">The data cannot be read.</exception>
    public static TensorStatistics Measure(TensorSource model, TensorInfo tensor, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(tensor);
        var statistics = new TensorStatistics { Name = tensor.Name, Elements = tensor.ElementCount };
        if (!IsDecoded(tensor.DType))
            return statistics;

        long nonFinite = 0;
        double minimum = double.PositiveInfinity, maximum = double.NegativeInfinity;
        // 2^-64, for a second sum that 2^64 of the largest float64 do not overflow: derived, no tensor has more
        // elements
        const double Down = 1.0 / (1UL << 32) / (1UL << 32);
        PreciseSum sum = new(), scaledSum = new();
        var norm = new NormSum();
        byte[] panel = ArrayPool<byte>.Shared.Rent(PanelBytes);
        try
        {
            ForEachPanel(tensor, (offset, bytes) =>
            {
                Span<byte> data = panel.AsSpan(0, bytes);
                model.Read(tensor, offset, data);
                int count = bytes / (tensor.DType.BitSize / 8);
                for (int i = 0; i < count; i++)
                {
                    double value = ReadNumber(data, tensor.DType, i);
                    if (!double.IsFinite(value))
                    {
                        nonFinite++;
                        continue;
                    }

                    minimum = Math.Min(minimum, value);
                    maximum = Math.Max(maximum, value);
                    sum.Add(value);
                    scaledSum.Add(value * Down);
                    norm.Add(value);
                }
            }, cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(panel);
        }

        model.RequireUnchanged();
        long finite = tensor.ElementCount - nonFinite;
        return statistics with
        {
            NonFinite = nonFinite,
            Norm = norm.Value,
            Minimum = finite > 0 ? minimum : null,
            Maximum = finite > 0 ? maximum : null,
            Mean = finite == 0 ? null : double.IsFinite(sum.Value) ? sum.Value / finite : scaledSum.Value / (finite * Down),
        };
    }

    /// <summary>
    /// Compares a tensor of two models element by element. Floats of different types are widened exactly, and integers
    /// are compared exactly. NaN equals NaN, an infinity equals itself, and zeros of either sign are equal.
    /// </summary>
    /// <param name="first">One model.</param>
    /// <param name="second">The other.</param>
    /// <param name="name">The tensor's name.</param>
    /// <param name="cancellationToken">Ends the reading.</param>
    /// <exception cref="InvalidModelException">
    /// One of them has no such tensor, or their shapes differ, or their types cannot be compared; or the data cannot be
    /// read.
    /// </exception>
    public static TensorDifference Compare(
        TensorSource first, TensorSource second, string name, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        (TensorInfo a, TensorInfo b) = FindComparable(first, second, name);
        var difference = new DifferenceCount();
        byte[] panelA = ArrayPool<byte>.Shared.Rent(PanelBytes), panelB = ArrayPool<byte>.Shared.Rent(PanelBytes);
        try
        {
            if (IsDecoded(a.DType))
                CompareNumbers(first, a, panelA, second, b, panelB, difference, cancellationToken);
            else
                CompareBytes(first, a, panelA, second, b, panelB, difference, cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(panelA);
            ArrayPool<byte>.Shared.Return(panelB);
        }

        first.RequireUnchanged();
        second.RequireUnchanged();
        bool decoded = IsDecoded(a.DType);
        return new TensorDifference
        {
            Name = name,
            Elements = a.ElementCount,
            DifferentElements = difference.Count,
            MaxAbsolute = decoded ? difference.Absolute : null,
            MaxRelative = decoded ? difference.Relative : null,
        };
    }

    private static bool IsDecoded(DType dtype) => dtype.IsComputed || dtype.IsInteger;

    private static (TensorInfo A, TensorInfo B) FindComparable(TensorSource first, TensorSource second, string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        string quoted = Sentence.Quote(name);
        if (first.Find(name) is not { } a)
            throw new InvalidModelException($"Tensor {quoted} is missing in '{first.Location}'.");
        if (second.Find(name) is not { } b)
            throw new InvalidModelException(
                $"Tensor {quoted} is missing in '{second.Location}'; {a} was expected, as in '{first.Location}'.");
        if (a.Shape != b.Shape)
        {
            throw new InvalidModelException(
                $"Tensor {quoted} has the shape {b.Shape} in '{second.Location}'; {a.Shape} was expected, as in '{first.Location}'.");
        }

        if (a.DType != b.DType && !(a.DType.IsComputed && b.DType.IsComputed) && !(a.DType.IsInteger && b.DType.IsInteger))
        {
            throw new InvalidModelException(
                $"Tensor {quoted} has the type {b.DType.SafetensorsName} in '{second.Location}'; {a.DType.SafetensorsName} was " +
                    $"expected, as in '{first.Location}'.");
        }

        return (a, b);
    }

    private static void CompareNumbers(
        TensorSource first, TensorInfo a, byte[] panelA, TensorSource second, TensorInfo b, byte[] panelB, DifferenceCount difference,
        CancellationToken cancellationToken)
    {
        int sizeA = a.DType.BitSize / 8, sizeB = b.DType.BitSize / 8;
        TensorInfo larger = sizeA >= sizeB ? a : b;
        ForEachPanel(larger, (offset, bytes) =>
        {
            int largest = Math.Max(sizeA, sizeB), count = bytes / largest;
            long start = offset / largest;
            Span<byte> dataA = panelA.AsSpan(0, count * sizeA), dataB = panelB.AsSpan(0, count * sizeB);
            first.Read(a, start * sizeA, dataA);
            second.Read(b, start * sizeB, dataB);
            for (int i = 0; i < count; i++)
            {
                if (a.DType.IsInteger)
                    difference.Add(ReadInteger(dataA, a.DType, i), ReadInteger(dataB, b.DType, i));
                else
                    difference.Add(ReadNumber(dataA, a.DType, i), ReadNumber(dataB, b.DType, i));
            }
        }, cancellationToken);
    }

    private static void CompareBytes(
        TensorSource first, TensorInfo a, byte[] panelA, TensorSource second, TensorInfo b, byte[] panelB, DifferenceCount difference,
        CancellationToken cancellationToken)
    {
        // of elements smaller than a byte, whole bytes are counted
        int size = Math.Max(a.DType.BitSize / 8, 1);
        ForEachPanel(a, (offset, bytes) =>
        {
            Span<byte> dataA = panelA.AsSpan(0, bytes), dataB = panelB.AsSpan(0, bytes);
            first.Read(a, offset, dataA);
            second.Read(b, offset, dataB);
            for (int at = 0; at < bytes; at += size)
                difference.Count += dataA.Slice(at, size).SequenceEqual(dataB.Slice(at, size)) ? 0 : 1;
        }, cancellationToken);
    }

    private static void ForEachPanel(TensorInfo tensor, Action<long, int> panel, CancellationToken cancellationToken)
    {
        for (long offset = 0; offset < tensor.ByteLength; offset += PanelBytes)
        {
            cancellationToken.ThrowIfCancellationRequested();
            panel(offset, (int)Math.Min(PanelBytes, tensor.ByteLength - offset));
        }
    }

    private static unsafe double ReadNumber(Span<byte> data, DType dtype, int i)
    {
        fixed (byte* pointer = data)
            return dtype.IsComputed ? Rounding.Read(pointer, dtype, i) : (double)IntegerMean.Read(new TensorPanel(pointer, dtype), i);
    }

    private static unsafe Int128 ReadInteger(Span<byte> data, DType dtype, int i)
    {
        fixed (byte* pointer = data)
            return IntegerMean.Read(new TensorPanel(pointer, dtype), i);
    }

    private sealed class DifferenceCount
    {
        public long Count { get; set; }

        public double Absolute { get; private set; }

        public double Relative { get; private set; }

        public void Add(double a, double b)
        {
            if (a == b || double.IsNaN(a) && double.IsNaN(b))
                return;
            // a NaN or infinity is infinitely far from any other value
            if (!double.IsFinite(a) || !double.IsFinite(b))
            {
                Take(double.PositiveInfinity, double.PositiveInfinity);
                return;
            }

            double distance = Math.Abs(a - b), largest = Math.Max(Math.Abs(a), Math.Abs(b));
            // if the distance overflows, the signs are opposite
            Take(distance, double.IsFinite(distance) ? distance / largest : Math.Abs(a) / largest + Math.Abs(b) / largest);
        }

        public void Add(Int128 a, Int128 b)
        {
            if (a == b)
                return;
            double distance = (double)Int128.Abs(a - b);
            Take(distance, distance / (double)Int128.Max(Int128.Abs(a), Int128.Abs(b)));
        }

        private void Take(double absolute, double relative)
        {
            Count++;
            Absolute = Math.Max(Absolute, absolute);
            Relative = Math.Max(Relative, relative);
        }
    }

    /// <summary>
    /// The root of a sum of squares. Squares of very large and very small values are kept scaled, so that none
    /// overflows or vanishes (Blue 1978).
    /// </summary>
    private struct NormSum
    {
        // the largest and smallest magnitudes that are not scaled: derived, 2^60 of their squares neither overflow nor
        // lose digits
        private static readonly double Largest = Math.ScaleB(1, 480);
        private static readonly double Smallest = Math.ScaleB(1, -480);

        // the factors of smaller and larger values: derived, a scaled square is far from both ends of float64's range
        private static readonly double Up = Math.ScaleB(1, 600);
        private static readonly double Down = Math.ScaleB(1, -600);

        private PreciseSum _large, _middle, _small;

        public readonly double Value
        {
            get
            {
                if (_large.Value > 0)
                    return Math.Sqrt(_large.Value + _middle.Value * Down * Down) * Up;
                return _middle.Value > 0 ? Math.Sqrt(_middle.Value + _small.Value * Down * Down) : Math.Sqrt(_small.Value) * Down;
            }
        }

        public void Add(double value)
        {
            double magnitude = Math.Abs(value);
            if (magnitude > Largest)
                _large.AddProduct(value * Down, value * Down);
            else if (magnitude >= Smallest)
                _middle.AddProduct(value, value);
            else
                _small.AddProduct(value * Up, value * Up);
        }
    }
}
