namespace FedICU;

/// <summary>Consecutive elements of one tensor, of all clients, in float64.</summary>
public readonly unsafe ref struct ClientBlock
{
    private readonly double* _values;

    internal ClientBlock(double* values, int clients, int length, long start)
    {
        _values = values;
        (Clients, Length, Start) = (clients, length, start);
    }

    /// <summary>Gets the flat index of the first element in the tensor.</summary>
    public long Start { get; }

    /// <summary>Gets the number of clients.</summary>
    public int Clients { get; }

    /// <summary>Gets the number of elements, a multiple of 16. Those after the tensor's end are 0.</summary>
    public int Length { get; }

    /// <summary>Gets the elements of the result, which the rule writes.</summary>
    public Span<double> Result => this[Clients];

    /// <summary>Gets a client's elements, which the rule may overwrite.</summary>
    /// <param name="client">The client's index.</param>
    public Span<double> this[int client] => new(_values + (long)client * Length, Length);
}
