namespace FederatedLanguages;

/// <summary>A column of the table.</summary>
/// <param name="Name">The column's head.</param>
/// <param name="Bits">
/// The bits per byte for each text: the clients' domains, then the base's. Null: not measured.
/// </param>
/// <param name="IsReference">Whether the column is there to compare the strategies with.</param>
internal sealed record ResultColumn(string Name, double?[] Bits, bool IsReference = false)
{
    /// <summary>The mean over the clients' domains.</summary>
    public double? Mean => Bits[..^1].Average();
}
