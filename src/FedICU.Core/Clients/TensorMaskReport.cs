namespace FedICU;

/// <summary>What is sent of one tensor of a masked update.</summary>
/// <param name="Name">The tensor's name.</param>
/// <param name="Elements">The number of its entries.</param>
/// <param name="Sent">The number of entries that are sent.</param>
/// <param name="BytesSent">The bytes in the update.</param>
/// <param name="BytesFull">The bytes of the whole tensor.</param>
public sealed record TensorMaskReport(string Name, long Elements, long Sent, long BytesSent, long BytesFull)
{
    /// <summary>Gets Sent / Elements; 1 for an empty tensor.</summary>
    public double ShareSent => Elements == 0 ? 1 : (double)Sent / Elements;
}
