using System.Security.Cryptography;
using FederatedLanguages;

namespace FedICU.Experiments;

/// <summary>The clients' domains as tokens, and the general one that the base knows.</summary>
/// <param name="Source">Its name.</param>
/// <param name="Texts">A hash of all texts: figures of other texts are not gone on from.</param>
/// <param name="Encoding">Learned of the general text.</param>
/// <param name="Names">The domains'.</param>
/// <param name="Train">A text a domain.</param>
/// <param name="Test">A text a domain.</param>
/// <param name="GeneralTrain">The base's.</param>
/// <param name="GeneralTest">Shows what is forgotten.</param>
/// <param name="Validation">A small text of each domain that a server could have, from the ends of Train.</param>
internal sealed record Corpus(string Source, string Texts, BytePair Encoding, IReadOnlyList<string> Names, IReadOnlyList<int[]> Train, IReadOnlyList<int[]> Test, int[] GeneralTrain, int[] GeneralTest, IReadOnlyList<int[]> Validation)
{
    private const int EncodingBytes = 1 << 20, ValidationTokens = 4 * Transformer.Context + 1;

    private static readonly string[] Languages = ["de", "fr", "ru", "ja"];

    /// <summary>The folder's name, or that of the SDK's texts.</summary>
    public static string SourceOf(string? folder) => folder is null ? "sdk" : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));

    /// <summary>The first digits of a hash: enough to tell a few from each other.</summary>
    public static string Short(byte[] hash) => Convert.ToHexStringLower(hash)[..16];

    /// <summary>Reads a folder of domains, or the SDK's texts where there is none.</summary>
    /// <param name="folder">The folder; null: the SDK's.</param>
    /// <param name="known">The encoding of texts by their hash; null: one is learned.</param>
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
                throw new NoTextException($"The folder '{folder}' has {string.Join(" and ", several.Select(domain => $"'{domain.Name}'"))}; one general text was expected.");
            general = domains.Find(TextSources.IsGeneral) ?? throw new NoTextException($"The folder '{folder}' has no domain called {string.Join(", ", TextSources.GeneralNames)}.");
            clients = domains.FindAll(domain => !TextSources.IsGeneral(domain));
            if (clients.Count < 2)
                throw new NoTextException($"The folder '{folder}' has {clients.Count} domains beside '{general.Name}'; at least two were expected.");
        }

        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (byte[] text in clients.Append(general).SelectMany(domain => (byte[][])[domain.Train, domain.Test]))
            hash.AppendData(SHA256.HashData(text));
        string texts = Short(hash.GetHashAndReset());
        BytePair encoding = known(texts) ?? BytePair.Train(general.Train.AsSpan(0, Math.Min(general.Train.Length, EncodingBytes)));
        int[][] train = [.. clients.Select(domain => encoding.Encode(domain.Train))];
        return new Corpus(
            SourceOf(folder), texts, encoding, [.. clients.Select(domain => domain.Name)], [.. train.Select(text => text[..^ValidationTokens])],
            [.. clients.Select(domain => encoding.Encode(domain.Test))], encoding.Encode(general.Train), encoding.Encode(general.Test), [.. train.Select(text => text[^ValidationTokens..])]);
    }
}
