namespace FederatedLanguages;

/// <summary>The texts that the command line asks for.</summary>
internal static class Texts
{
    private const int TestBytes = 24 << 10;

    private static readonly string[] Languages = ["de", "fr", "ru", "ja"];

    /// <summary>The clients' texts and the base's.</summary>
    public static (List<DomainText> Clients, DomainText General) Choose(Options options)
    {
        if (options.Data is null)
            return ([.. (options.Clients ?? Languages).Select(language => TextSources.FromSdk(language, TestBytes))], TextSources.EnglishFromSdk(TestBytes));
        List<DomainText> domains = TextSources.FromFolder(options.Data, TestBytes, 64 * LanguageModel.Context);
        List<DomainText> clients = options.Clients is null
            ? domains.FindAll(domain => !TextSources.IsGeneral(domain))
            : [.. options.Clients.Select(name => domains.Find(domain => domain.Name == name) ??
                throw new NoTextException($"The folder '{options.Data}' has no domain '{name}'; it has {string.Join(", ", domains.Select(domain => domain.Name))}."))];
        return clients.Count > 0
            ? (clients, domains.Find(TextSources.IsGeneral) ?? TextSources.EnglishFromSdk(TestBytes))
            : throw new NoTextException($"The folder '{options.Data}' has only the base's domain; texts of clients were expected beside it.");
    }

    /// <summary>The base's text.</summary>
    public static DomainText General(Options options) =>
        options.Data is null ? TextSources.EnglishFromSdk(TestBytes) : TextSources.FromFolder(options.Data, TestBytes, 64 * LanguageModel.Context).Find(TextSources.IsGeneral) ??
            throw new NoTextException($"The folder '{options.Data}' has no domain called {string.Join(", ", TextSources.GeneralNames)}.");
}
