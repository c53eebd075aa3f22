using System.Security.Cryptography;
using FederatedLanguages;

namespace FedICU.Experiments;

/// <summary>The clients' domains and the general domain of the base, as tokens.</summary>
/// <param name="Source">The corpus's name.</param>
/// <param name="Texts">A hash of all texts. A run continues only from figures of the same texts.</param>
/// <param name="Encoding">The encoding that was learned from the general text.</param>
/// <param name="Names">The domains' names.</param>
/// <param name="Train">The training text of each domain.</param>
/// <param name="Test">The test text of each domain.</param>
/// <param name="GeneralTrain">The text that the base is trained on.</param>
/// <param name="GeneralTest">The text that shows what is forgotten.</param>
/// <param name="Validation">
/// A small text of each domain that a server could have, from the ends of the training texts.
/// </param>
internal sealed record Corpus(
    string Source, string Texts, BytePair Encoding, IReadOnlyList<string> Names, IReadOnlyList<int[]> Train, IReadOnlyList<int[]> Test,
    int[] GeneralTrain, int[] GeneralTest, IReadOnlyList<int[]> Validation)
{
    // bytes of the general text from which the encoding is learned; chosen
    private const int EncodingBytes = 1 << 20;

    // tokens of a domain's validation text: four windows and the token before the first; chosen
    private const int ValidationTokens = 4 * Transformer.Context + 1;

    private static readonly string[] Languages = ["de", "fr", "ru", "ja"];

    /// <summary>Gets the folder's name, or the name of the SDK's texts.</summary>
    public static string SourceOf(string? folder) =>
        folder is null ? "sdk" : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));

    /// <summary>Shortens a hash to its first digits, which are enough to tell a few apart.</summary>
    public static string Short(byte[] hash) => Convert.ToHexStringLower(hash)[..16];

    /// <summary>Reads a folder of domains, or the SDK's texts.</summary>
    /// <param name="folder">The folder, or null for the SDK's texts.</param>
    /// <param name="known">
    /// Returns a known encoding by the hash of the texts. If it returns null, an encoding is learned.
    /// </param>
    public static Corpus Read(string? folder, Func<string, BytePair?> known)
    {
        DomainText general;
        List<DomainText> clients;
        if (folder is null)
        {
            general = TextSources.EnglishFromSdk(int.MaxValue);
            clients = [.. Languages.Select(language => TextSources.FromSdk(language, int.MaxValue))];
        }
        else
        {
            List<DomainText> domains = TextSources.FromFolder(folder, int.MaxValue, 64 * Transformer.Context);
            if (domains.FindAll(TextSources.IsGeneral) is { Count: > 1 } several)
            {
                string names = string.Join(" and ", several.Select(domain => $"'{domain.Name}'"));
                throw new NoTextException($"The folder '{folder}' has {names}; one general text was expected.");
            }

            general = domains.Find(TextSources.IsGeneral) ?? throw new NoTextException(
                $"The folder '{folder}' has no domain named {string.Join(" or ", TextSources.GeneralNames)}.");
            clients = domains.FindAll(domain => !TextSources.IsGeneral(domain));
            if (clients.Count < 2)
            {
                throw new NoTextException(
                    $"The folder '{folder}' has {clients.Count} domains besides '{general.Name}'; at least two were expected.");
            }
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (byte[] text in clients.Append(general).SelectMany(domain => (byte[][])[domain.Train, domain.Test]))
            hash.AppendData(SHA256.HashData(text));
        string texts = Short(hash.GetHashAndReset());
        BytePair encoding = known(texts) ?? BytePair.Train(general.Train.AsSpan(0, Math.Min(general.Train.Length, EncodingBytes)));
        int[][] train = [.. clients.Select(domain => encoding.Encode(domain.Train))];
        return new Corpus(
            SourceOf(folder), texts, encoding, [.. clients.Select(domain => domain.Name)],
            [.. train.Select(text => text[..^ValidationTokens])], [.. clients.Select(domain => encoding.Encode(domain.Test))],
            encoding.Encode(general.Train), encoding.Encode(general.Test), [.. train.Select(text => text[^ValidationTokens..])]);
    }
}
