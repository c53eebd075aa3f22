namespace FederatedLanguages;

/// <summary>Chooses the texts by the command line.</summary>
internal static class Texts
{
    // bytes of a domain's text to test on; chosen, so that measuring takes seconds
    private const int TestBytes = 24 << 10;

    // bytes that each of a domain's texts must exceed; chosen
    private const int FewestBytes = 64 * LanguageModel.Context;

    // bytes of each domain in the server's own text; chosen: small, as a server's clean data are
    private const int ServerBytes = 4 << 10;

    private static readonly string[] DefaultLanguages = ["de", "fr", "ru", "ja"];

    /// <summary>Reads the texts of the clients' domains and the base's text.</summary>
    public static (List<DomainText> Domains, DomainText General) Choose(Options options)
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

    /// <summary>Splits the text of each domain among its clients, at the ends of lines.</summary>
    /// <returns>The first client of every domain, then the second, and so on.</returns>
    public static List<ClientText> Split(IReadOnlyList<DomainText> domains, int clientsPerDomain)
    {
        if (clientsPerDomain == 1)
            return [.. domains.Select((domain, i) => new ClientText(domain.Name, i, domain.Train))];
        var clients = new List<ClientText>();
        for (int part = 0; part < clientsPerDomain; part++)
        {
            foreach ((int i, DomainText domain) in domains.Index())
            {
                byte[] train = domain.Train[Boundary(domain.Train, part)..Boundary(domain.Train, part + 1)];
                clients.Add(train.Length > FewestBytes
                    ? new ClientText(FormattableString.Invariant($"{domain.Name}-{part + 1}"), i, train)
                    : throw new NoTextException(
                        $"The text '{domain.Name}' has {domain.Train.Length} bytes, which is too few for {clientsPerDomain} clients."));
            }
        }

        return clients;

        int Boundary(byte[] text, int part)
        {
            if (part == 0 || part == clientsPerDomain)
                return part == 0 ? 0 : text.Length;
            int end = Array.IndexOf(text, (byte)'\n', (int)((long)text.Length * part / clientsPerDomain));
            return end < 0 ? text.Length : end + 1;
        }
    }

    /// <summary>Makes the server's own text: a few KiB of each domain.</summary>
    public static byte[] OfServer(IEnumerable<DomainText> domains) =>
        [.. domains.SelectMany(domain => domain.Train.Take(ServerBytes))];

    /// <summary>Reads the base's text.</summary>
    public static DomainText General(Options options)
    {
        if (options.Data is null)
            return TextSources.EnglishFromSdk(TestBytes);
        return TextSources.FromFolder(options.Data, TestBytes, FewestBytes).Find(TextSources.IsGeneral) ?? throw new NoTextException(
            $"The folder '{options.Data}' has no domain named {string.Join(" or ", TextSources.GeneralNames)}.");
    }
}
