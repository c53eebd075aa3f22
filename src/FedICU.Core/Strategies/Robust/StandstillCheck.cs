using System.Numerics;

namespace FedICU.Strategies.Robust;

/// <summary>
/// Finds the end of an iteration whose numbers change no more. Rounding may let them alternate, so they are also
/// compared with those of iteration 1, 2, 4, 8, ...
/// </summary>
/// <param name="start">The numbers before the first iteration.</param>
internal sealed class StandstillCheck(double[] start)
{
    private double[] _last = start, _marked = start;
    private int _iterations;

    /// <summary>Takes the numbers after the next iteration.</summary>
    /// <returns>Whether they equal earlier ones to the last bit: further iterations would repeat them.</returns>
    public bool Repeats(double[] numbers)
    {
        bool repeats = numbers.SequenceEqual(_last) || numbers.SequenceEqual(_marked);
        _last = numbers;
        if (BitOperations.IsPow2(++_iterations))
            _marked = numbers;
        return repeats;
    }
}
