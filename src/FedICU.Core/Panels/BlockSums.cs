namespace FedICU.Panels;

/// <summary>Adds what it finds in a block to sums.</summary>
/// <param name="block">The clients' values. The rule may overwrite them.</param>
/// <param name="sums">The sums.</param>
internal delegate void BlockSums(ClientBlock block, Span<double> sums);
