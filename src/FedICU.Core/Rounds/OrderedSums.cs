using System.Numerics.Tensors;

namespace FedICU.Rounds;

/// <summary>
/// Adds up arrays that arrive in any order, in the order of their numbers: the sum has the same bits for any number of
/// threads. Arrays that arrive early wait, and their memory is used again.
/// </summary>
/// <param name="count">The length of the arrays.</param>
internal sealed class OrderedSums(int count)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<int, double[]> _early = [];
    private readonly Stack<double[]> _idle = new();
    private int _next;

    /// <summary>The sums of all arrays before the first missing one.</summary>
    public double[] Sums { get; } = new double[count];

    /// <summary>Returns an array of zeros.</summary>
    public double[] Rent()
    {
        double[]? part;
        lock (_gate)
            _idle.TryPop(out part);
        if (part is null)
            return new double[count];
        Array.Clear(part);
        return part;
    }

    /// <summary>Adds the array of a number, which must be added once.</summary>
    public void Add(int number, double[] part)
    {
        lock (_gate)
        {
            _early.Add(number, part);
            while (_early.Remove(_next, out double[]? next))
            {
                TensorPrimitives.Add(Sums, next, Sums);
                _idle.Push(next);
                _next++;
            }
        }
    }
}
