namespace FederatedLanguages;

/// <summary>Chooses the texts by the command line.</summary>
internal static class Texts
{
    // bytes of a domain's text to test on; chosen, so that measuring takes seconds
    private const int TestBytes = 24 << 10;

    // bytes that each of a domain's texts must exceed; chosen
    private const int FewestBytes = 64 * LanguageModel.Context;

    private static readonly string[] DefaultLanguages = ["de", "fr", "ru", "ja"];

    /// <summary>Reads the clients' texts and the base's text.</summary>
    public static (List<DomainText> Clients, DomainText General) Choose(Options options)
    {
        if (options.Data is null)
        {
            IEnumerable<string> languages = options.Clients ?? DefaultLanguages;
            return ([.. languages.Select(language => TextSources.FromSdk(language, TestBytes))], TextSources.EnglishFromSdk(TestBytes));
        }

        List<DomainText> domains = TextSources.FromFolder(options.Data, TestBytes, FewestBytes);
        List<DomainText> clients = options.Clients is null
            ? domains.FindAll(domain => !TextSources.IsGeneral(domain))
            : [.. options.Clients.Select(name => domains.Find(domain => domain.Name == name) ?? throw NoDomain(name))];
        return clients.Count > 0
            ? (clients, domains.Find(TextSources.IsGeneral) ?? TextSources.EnglishFromSdk(TestBytes))
            : throw new NoTextException($"The folder '{options.Data}' has only the base's domain; texts of clients were expected too.");

        NoTextException NoDomain(string name) => new(
            $"The folder '{options.Data}' has no domain '{name}'; it has {string.Join(", ", domains.Select(domain => domain.Name))}.");
    }

    /// <summary>Reads the base's text.</summary>
    public static DomainText General(Options options)
    {
        if (options.Data is null)
            return TextSources.EnglishFromSdk(TestBytes);
        return TextSources.FromFolder(options.Data, TestBytes, FewestBytes).Find(TextSources.IsGeneral) ?? throw new NoTextException(
            $"The folder '{options.Data}' has no domain named {string.Join(" or ", TextSources.GeneralNames)}.");
    }
}
