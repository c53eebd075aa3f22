namespace FedICU.Experiments;

/// <summary>A client of an experiment.</summary>
/// <param name="Id">The client's name.</param>
/// <param name="Texts">The client's text of each domain.</param>
/// <param name="Mixture">The probability with which it draws from each text.</param>
/// <param name="Examples">The client's weight.</param>
/// <param name="Steps">The number of training steps in a round.</param>
/// <param name="Rank">The rank of its adapter.</param>
internal sealed record ExperimentClient(
    string Id, IReadOnlyList<int[]> Texts, IReadOnlyList<double> Mixture, double Examples, int Steps, int Rank = Adapter.DefaultRank);
