namespace FedICU.Compute.Reference;

/// <summary>
/// A sum of a float64 and a float64 correction, as precise as if it were computed in twice the precision and rounded
/// once (Neumaier 1974; Ogita, Rump, Oishi 2005).
/// </summary>
internal struct PreciseSum
{
    private double _sum, _correction;

    /// <summary>Gets the sum.</summary>
    public readonly double Value => double.IsFinite(_sum) ? _sum + _correction : _sum;

    /// <summary>Adds a number.</summary>
    public void Add(double value)
    {
        double total = _sum + value;
        _correction += Math.Abs(_sum) >= Math.Abs(value) ? _sum - total + value : value - total + _sum;
        _sum = total;
    }

    /// <summary>Adds a product, including its rounding error.</summary>
    public void AddProduct(double x, double y)
    {
        double product = x * y;
        Add(product);
        _correction += Math.FusedMultiplyAdd(x, y, -product);
    }
}
