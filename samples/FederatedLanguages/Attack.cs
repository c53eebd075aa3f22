using System.Numerics.Tensors;

namespace FederatedLanguages;

/// <summary>An attack on the federation: the first clients upload something other than what they trained.</summary>
/// <param name="Kind">What the attackers do, one of <see cref="Kinds"/>.</param>
/// <param name="Attackers">The number of attackers.</param>
internal sealed record Attack(string Kind, int Attackers)
{
    private const string SignFlip = "sign-flip";
    private const string Noise = "noise";
    private const string LabelShuffle = "label-shuffle";

    // how much longer the reversed update is than the honest one; chosen, so that two of twelve clients outweigh the
    // ten others in a mean
    private const float FlipFactor = 10;

    // the standard deviation of the noise; chosen: most trained factors are below 0.2
    private const float NoiseDeviation = 1;

    /// <summary>The kinds of attacks.</summary>
    public static IReadOnlyList<string> Kinds { get; } = [SignFlip, Noise, LabelShuffle];

    /// <summary>Describes what the attackers do, with x for the received model and y for the trained one.</summary>
    public string Description => Kind switch
    {
        SignFlip => FormattableString.Invariant($"upload x - {FlipFactor} (y - x): x is the received adapter, y the trained one"),
        Noise => FormattableString.Invariant($"upload the received adapter with Gaussian noise of deviation {NoiseDeviation}"),
        _ => "train on next bytes that are shuffled over their text",
    };

    /// <summary>Whether a client is an attacker: the first ones are.</summary>
    public bool IsAttacker(int client) => client < Attackers;

    /// <summary>Returns the next bytes that an attacker trains to predict.</summary>
    public byte[] MakeTargets(byte[] text, Random random)
    {
        if (Kind != LabelShuffle)
            return text;
        byte[] targets = [.. text];
        random.Shuffle(targets);
        return targets;
    }

    /// <summary>Replaces what an attacker trained by what it uploads.</summary>
    public void Falsify(Adapter received, Adapter trained, Random random)
    {
        foreach ((Matrix x, Matrix y) in received.Factors().Zip(trained.Factors(), (from, to) => (from.Values, to.Values)))
        {
            if (Kind == SignFlip)
            {
                // y = x - s (y - x)
                TensorPrimitives.Subtract(y.Data, x.Data, y.Data);
                TensorPrimitives.Multiply(y.Data, -FlipFactor, y.Data);
                TensorPrimitives.Add(y.Data, x.Data, y.Data);
            }
            else if (Kind == Noise)
            {
                for (int i = 0; i < y.Data.Length; i++)
                    y.Data[i] = x.Data[i] + NoiseDeviation * Gaussian(random);
            }
        }
    }

    /// <summary>Draws from the standard normal distribution (Box and Muller, 1958).</summary>
    private static float Gaussian(Random random) =>
        (float)(Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * Math.Cos(2 * Math.PI * random.NextDouble()));
}
