namespace FedICU.Compute.Reference;

/// <summary>
/// A sum kept as float64 and a correction of float64: as if it were computed in twice the precision and rounded once (Neumaier 1974;
/// Ogita, Rump, Oishi 2005).
/// </summary>
internal struct PreciseSum
{
    private double _sum, _correction;

    /// <summary>The sum so far.</summary>
    public readonly double Value => double.IsFinite(_sum) ? _sum + _correction : _sum;

    /// <summary>Adds a number.</summary>
    public void Add(double value)
    {
        double total = _sum + value;
        _correction += Math.Abs(_sum) >= Math.Abs(value) ? _sum - total + value : value - total + _sum;
        _sum = total;
    }

    /// <summary>Adds a product, with what its rounding loses.</summary>
    public void AddProduct(double x, double y)
    {
        double product = x * y;
        Add(product);
        _correction += Math.FusedMultiplyAdd(x, y, -product);
    }
}
