using FederatedLanguages;

namespace FedICU.Experiments;

/// <summary>The participants of a federation: the number of clients, their texts, and their training steps.</summary>
/// <param name="Name">The scenario's name in tables and on the command line.</param>
/// <param name="ClientsOfDomain">The number of clients for each domain.</param>
/// <param name="Does">The scenario's description, for tables.</param>
internal sealed record Scenario(string Name, int ClientsOfDomain, string Does)
{
    /// <summary>
    /// The parameter of the mixtures' symmetric Dirichlet distribution; null if each client has one domain.
    /// </summary>
    public double? Dirichlet { get; init; }

    /// <summary>The share of clients that train in a round.</summary>
    public double Participation { get; init; } = 1;

    /// <summary>
    /// Whether the clients by turns have 1, 1/2, 1/4 and 1/8 of their texts, and weights in the same proportion.
    /// </summary>
    public bool UnequalSizes { get; init; }

    /// <summary>Whether the clients by turns train for half, all and twice the steps.</summary>
    public bool UnequalSteps { get; init; }

    /// <summary>Whether the clients by turns have adapters of rank 2, 4, 8 and 16.</summary>
    public bool UnequalRanks { get; init; }

    /// <summary>
    /// The number of attackers, the first clients. They send their update times <see cref="AttackMultiple"/>.
    /// </summary>
    public int Attackers { get; init; }

    /// <summary>What an attacker's update is multiplied by; chosen.</summary>
    public const float AttackMultiple = -3;

    public static IReadOnlyList<Scenario> All { get; } =
    [
        new("domains", 1, "a client for each domain"),
        new("dirichlet", 2, "two clients for each domain, mixtures by Dirichlet(0.3)") { Dirichlet = 0.3 },
        new("partial", 2, "two clients for each domain, half of them in a round") { Participation = 0.5 },
        new("sizes", 1, "a client for each domain, unequal sizes") { UnequalSizes = true },
        new("steps", 1, "a client for each domain, unequal steps") { UnequalSteps = true },
        new("ranks", 1, "a client for each domain, adapters of rank 2, 4, 8 and 16") { UnequalRanks = true },
        new("attackers", 2, "two clients for each domain; two of the eight send their update times -3") { Attackers = 2 },
    ];

    /// <summary>Creates the clients of a seed.</summary>
    /// <exception cref="NoTextException">A client's part of a text is too small.</exception>
    public IReadOnlyList<ExperimentClient> CreateClients(Corpus corpus, int steps, int seed)
    {
        int domains = corpus.Names.Count, clients = ClientsOfDomain * domains;
        var random = new Random(seed);
        // each client's turn, which gives its size, its steps or its rank
        int[] turns = [.. Enumerable.Range(0, clients)];
        if (UnequalSizes || UnequalSteps || UnequalRanks)
            random.Shuffle(turns);
        return [.. Enumerable.Range(0, clients).Select(k =>
        {
            double[] mixture = Dirichlet is { } alpha
                ? MathNet.Numerics.Distributions.Dirichlet.Sample(random, [.. Enumerable.Repeat(alpha, domains)])
                : [.. Enumerable.Range(0, domains).Select(domain => domain == k % domains ? 1.0 : 0)];
            double part = UnequalSizes ? Math.Pow(2, -(turns[k] % 4)) : 1;
            // clients of one domain have parts of its text that do not overlap
            (int index, int sharing) = Dirichlet is null ? (k / domains, ClientsOfDomain) : (k, clients);
            int[][] texts = [.. corpus.Train.Select(text =>
                text[(int)((long)text.Length * index / sharing)..(int)(text.Length * (index + part) / sharing)])];
            int small = Array.FindIndex(texts, text => text.Length < Transformer.Context + 2);
            if (small >= 0 && mixture[small] > 0)
            {
                throw new NoTextException(
                    $"The domain '{corpus.Names[small]}' is too small for the scenario {Name}: client {k} has " +
                    $"{texts[small].Length} tokens of it; at least {Transformer.Context + 2} were expected.");
            }

            int own = UnequalSteps ? (int)(steps * Math.Pow(2, turns[k] % 3 - 1)) : steps;
            int rank = UnequalRanks ? 2 << (turns[k] % 4) : Adapter.DefaultRank;
            return new ExperimentClient($"client-{k}", texts, mixture, part, Math.Max(1, own), rank);
        })];
    }
}
