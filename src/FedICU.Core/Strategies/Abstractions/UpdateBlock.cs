namespace FedICU;

/// <summary>Consecutive elements of one client's update during an <see cref="UpdateTransform"/>, in float64.</summary>
public readonly ref struct UpdateBlock
{
    internal UpdateBlock(TensorInfo tensor, int client, long start, double[] numbers, Span<double> update)
    {
        (Tensor, Client, Start) = (tensor, client, start);
        Numbers = numbers;
        Update = update;
    }

    /// <summary>Gets the tensor.</summary>
    public TensorInfo Tensor { get; }

    /// <summary>Gets the client's index in <see cref="RoundPlan.Clients"/>.</summary>
    public int Client { get; }

    /// <summary>Gets the flat index of the block's first element in the tensor.</summary>
    public long Start { get; }

    /// <summary>Gets the client's numbers of <see cref="UpdateTransform.Prepare"/>; empty if there are none.</summary>
    public ReadOnlySpan<double> Numbers { get; }

    /// <summary>Gets the elements of the update, which the transform changes.</summary>
    public Span<double> Update { get; }
}
