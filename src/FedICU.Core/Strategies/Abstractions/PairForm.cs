namespace FedICU.Strategies.Abstractions;

/// <summary>The rank and the scaling of a LoRA pair: of a client's, or of the one that is written.</summary>
/// <param name="Rank">The number of columns of B and of rows of A.</param>
/// <param name="Scaling">s; NaN if it is unknown.</param>
/// <param name="Alpha">alpha, from which the configuration gets s; NaN if there is none.</param>
internal readonly record struct PairForm(long Rank, double Scaling, double Alpha);
