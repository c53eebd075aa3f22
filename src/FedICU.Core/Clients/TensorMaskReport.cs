namespace FedICU;

/// <summary>One tensor of a masked update.</summary>
/// <param name="Name">The tensor.</param>
/// <param name="Elements">How many entries it has.</param>
/// <param name="Sent">How many of them are sent.</param>
/// <param name="BytesSent">Bytes in the update.</param>
/// <param name="BytesFull">Bytes of the whole tensor.</param>
public sealed record TensorMaskReport(string Name, long Elements, long Sent, long BytesSent, long BytesFull)
{
    /// <summary>Sent / Elements; 1 for an empty tensor.</summary>
    public double ShareSent => Elements == 0 ? 1 : (double)Sent / Elements;
}
