using FederatedLanguages;

namespace FedICU.Experiments;

/// <summary>The clients' domains as tokens, and the general one that the base knows.</summary>
internal sealed record Corpus(string Source, BytePair Encoding, IReadOnlyList<string> Names, IReadOnlyList<int[]> Train, IReadOnlyList<int[]> Test, int[] GeneralTrain, int[] GeneralTest, int[] Validation)
{
    private const int EncodingBytes = 1 << 20, ValidationTokens = 4 * Transformer.Context + 1;

    private static readonly string[] Languages = ["de", "fr", "ru", "ja"];

    /// <summary>The folder's name, or that of the SDK's texts.</summary>
    public static string SourceOf(string? folder) => folder is null ? "sdk" : Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder)));

    /// <summary>Reads a folder of domains, or the SDK's texts where there is none.</summary>
    public static Corpus Read(string? folder, int testBytes, BytePair? encoding)
    {
        DomainText general;
        List<DomainText> clients;
        if (folder is null)
        {
            general = TextSources.EnglishFromSdk(testBytes);
            clients = [.. Languages.Select(language => TextSources.FromSdk(language, testBytes))];
        }
        else
        {
            List<DomainText> domains = TextSources.FromFolder(folder, testBytes, 64 * Transformer.Context);
            general = domains.Find(TextSources.IsGeneral) ?? throw new NoTextException($"The folder '{folder}' has no domain called {string.Join(", ", TextSources.GeneralNames)}.");
            clients = domains.FindAll(domain => !TextSources.IsGeneral(domain));
        }

        encoding ??= BytePair.Train(general.Train.AsSpan(0, Math.Min(general.Train.Length, EncodingBytes)));
        int[][] train = [.. clients.Select(domain => encoding.Encode(domain.Train))];
        // the server's small text: the end of each domain, with which no client trains
        int[] validation = [.. train.SelectMany(text => text[^ValidationTokens..])];
        return new Corpus(
            SourceOf(folder), encoding, [.. clients.Select(domain => domain.Name)],
            [.. train.Select(text => text[..^ValidationTokens])], [.. clients.Select(domain => encoding.Encode(domain.Test))], encoding.Encode(general.Train), encoding.Encode(general.Test), validation);
    }
}
