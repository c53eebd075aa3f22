using System.Globalization;
using FedICU.Fedn.Npz;
using FedICU.Registry;
using FedICU.Text;

namespace FedICU.Fedn;

/// <summary>
/// The configuration section <c>FedIcu</c>: the strategy, its settings, and the limits of what is accepted.
/// </summary>
internal sealed class FednOptions
{
    // bytes; FEDn's chunks of 1 MiB and their fields must fit
    private const int LeastMessageBytes = 2 << 20;

    // .NET's timers count milliseconds in 32 bits, which is a little more than 24 days
    private static readonly TimeSpan LongestTimeout = TimeSpan.FromDays(24);

    /// <summary>
    /// The strategy's name, one of <see cref="StrategyRegistry.Names"/>, or several joined by commas in the order of
    /// their stages. Required.
    /// </summary>
    public string? Strategy { get; set; }

    /// <summary>
    /// The options of the strategy and the round by name, as <see cref="StrategyRegistry.Create"/> takes them.
    /// </summary>
    public Dictionary<string, string> Settings { get; set; } = [];

    /// <summary>
    /// The folder in which models are stored during a round. It must be the user's own with the mode 0700, and one
    /// process at a time uses it. <value>Default: <c>fedicu-fedn</c> in the system's folder for temporary
    /// files.</value>
    /// </summary>
    public string Spool { get; set; } = Path.Combine(Path.GetTempPath(), "fedicu-fedn");

    /// <summary>
    /// The folder in which a rule such as fedadam keeps its state between rounds, a file for each combiner. A restarted
    /// service goes on with it. <value>Default: null, <c>state</c> in the spool.</value>
    /// </summary>
    public string? State { get; set; }

    /// <summary>The folder of the combiners' states.</summary>
    public string StateFolder => State ?? Path.Combine(Spool, "state");

    /// <summary>
    /// The token that every call must carry. Refused on the command line, which other users can read.
    /// <value>Default: null, no token.</value>
    /// </summary>
    public string? Token { get; set; }

    /// <summary>
    /// A file that holds the token, instead of <see cref="Token"/>. <value>Default: null, no token.</value>
    /// </summary>
    public string? TokenFile { get; set; }

    /// <summary>
    /// Whether an endpoint that other machines can reach may be served without a token or client certificates.
    /// <value>Default: false.</value>
    /// </summary>
    public bool AllowAnonymous { get; set; }

    /// <summary>
    /// The PEM file of the certificate of all https endpoints, with the certificates that signed it.
    /// <value>Default: null; Kestrel's own configuration names one.</value>
    /// </summary>
    public string? Certificate { get; set; }

    /// <summary>
    /// The PEM file of the certificate's key. <value>Default: null; the key is in the certificate's file.</value>
    /// </summary>
    public string? CertificateKey { get; set; }

    /// <summary>
    /// The PEM file of the authority that must have signed the clients' certificates; no other authority is trusted.
    /// <value>Default: null, no client certificate is asked for unless Kestrel's configuration does.</value>
    /// </summary>
    public string? ClientAuthority { get; set; }

    /// <summary>
    /// The number of compute threads. It does not change the result. <value>Default: 0, one per CPU.</value>
    /// </summary>
    public int Threads { get; set; }

    /// <summary>
    /// The largest gRPC message in bytes. FEDn's chunks have slightly more than 1 MiB. A message within this limit
    /// whose metadata are too long gets an answer that says so. <value>Default: 16 MiB.</value>
    /// </summary>
    public int MaxMessageBytes { get; set; } = 16 << 20;

    /// <summary>The largest model as it is sent, in bytes. <value>Default: 8 GiB.</value></summary>
    public long MaxModelBytes { get; set; } = 8L << 30;

    /// <summary>The most bytes that a model's arrays may unpack to. <value>Default: 16 GiB.</value></summary>
    public long MaxUnpackedBytes { get; set; } = 16L << 30;

    /// <summary>
    /// The largest ratio of unpacked to sent bytes. It applies to models that unpack to more than 64 MiB.
    /// <value>Default: 100.</value>
    /// </summary>
    public double MaxExpansion { get; set; } = 100;

    /// <summary>
    /// The most bytes of all files of the spool: models as they were sent, unpacked, and new ones, of all combiners.
    /// A rule's state is not counted. <value>Default: 64 GiB.</value>
    /// </summary>
    public long MaxSpoolBytes { get; set; } = 64L << 30;

    /// <summary>
    /// Whether a client's second update in a round replaces its first. <value>Default: false, it is refused.</value>
    /// </summary>
    public bool ReplaceUpdates { get; set; }

    /// <summary>The most arrays in a model. <value>Default: 65536.</value></summary>
    public int MaxTensors { get; set; } = 65_536;

    /// <summary>The most clients in a round. <value>Default: 1024.</value></summary>
    public int MaxClients { get; set; } = 1024;

    /// <summary>The most combiners served at the same time. <value>Default: 16.</value></summary>
    public int MaxSessions { get; set; } = 16;

    /// <summary>
    /// How long a combiner must have been silent before another one may take its session. <value>Default: 1
    /// hour.</value>
    /// </summary>
    public TimeSpan IdleTimeout { get; set; } = TimeSpan.FromHours(1);

    /// <summary>
    /// How long a model may take to arrive. <value>Default: 120 seconds, the combiner's own deadline.</value>
    /// </summary>
    public TimeSpan StoreTimeout { get; set; } = TimeSpan.FromSeconds(120);

    /// <summary>
    /// How long an aggregation may take, including sending its model. <value>Default: 600 seconds, the combiner's own
    /// deadline.</value>
    /// </summary>
    public TimeSpan AggregationTimeout { get; set; } = TimeSpan.FromSeconds(600);

    /// <summary>
    /// The strategy and the round's options, made from <see cref="Strategy"/> and <see cref="Settings"/>.
    /// </summary>
    public ConfiguredRound Configured { get; private set; } = null!;

    /// <summary>The token from <see cref="Token"/> or <see cref="TokenFile"/>; null if calls need none.</summary>
    public SharedToken? Shared { get; private set; }

    /// <summary>
    /// The files that <see cref="Certificate"/>, <see cref="CertificateKey"/> and <see cref="ClientAuthority"/> name.
    /// </summary>
    public TlsFiles Tls { get; private set; } = null!;

    /// <summary>The limits for a model's archive.</summary>
    public NpzLimits Npz => new(MaxTensors, MaxUnpackedBytes, MaxExpansion);

    /// <summary>Reads and checks the section.</summary>
    /// <exception cref="InvalidOptionsException">A name or value is wrong.</exception>
    public static FednOptions Read(IConfiguration configuration)
    {
        FednOptions options;
        try
        {
            options = configuration.GetSection("FedIcu").Get<FednOptions>(binder => binder.ErrorOnUnknownConfiguration = true) ??
                new FednOptions();
        }
        catch (InvalidOperationException e)
        {
            throw new InvalidOptionsException([$"The section FedIcu cannot be read: {(e.InnerException ?? e).Message}"]);
        }

        // the configuration reader turns JSON's true and false into True and False
        foreach ((string name, string value) in options.Settings.Where(setting => setting.Value is "True" or "False").ToList())
            options.Settings[name] = value.ToLowerInvariant();
        options.Validate();
        options.Shared = SharedToken.Read(options);
        options.Tls = TlsFiles.Read(options);
        var round = new RoundOptions { Threads = options.Threads };
        options.Configured = StrategyRegistry.Default.Create(options.Strategy!, options.Settings, round);
        if (options.State is not null && !options.Configured.Aggregator.KeepsState)
        {
            throw new InvalidOptionsException(
                [$"FedIcu:State is {Sentence.Quote(options.State)}, but '{options.Strategy}' keeps no state between rounds."]);
        }

        return options;
    }

    private void Validate()
    {
        List<string> errors = [];
        if (Strategy is null)
            errors.Add($"FedIcu:Strategy is missing; {string.Join(", ", StrategyRegistry.Default.Names)} are known.");
        if (string.IsNullOrEmpty(Spool))
            errors.Add("FedIcu:Spool is empty; a folder was expected.");
        if (State is "")
            errors.Add("FedIcu:State is empty; a folder was expected.");
        foreach ((string name, string? path) in (ReadOnlySpan<(string, string?)>)
        [
            (nameof(Spool), Spool), (nameof(State), State), (nameof(TokenFile), TokenFile), (nameof(Certificate), Certificate),
            (nameof(CertificateKey), CertificateKey), (nameof(ClientAuthority), ClientAuthority),
        ])
        {
            // bytes that are not UTF-8 become U+FFFD, which would name another file
            if (path?.Contains('\ufffd') == true)
                errors.Add($"FedIcu:{name} is {Sentence.Quote(path)}; a path in UTF-8 was expected.");
        }

        if (Token is not null && TokenFile is not null)
            errors.Add("FedIcu:Token and FedIcu:TokenFile are both set; one of them was expected.");
        foreach ((string name, double value, double least) in (ReadOnlySpan<(string, double, double)>)
        [
            (nameof(MaxMessageBytes), MaxMessageBytes, LeastMessageBytes), (nameof(MaxModelBytes), MaxModelBytes, 1),
            (nameof(MaxUnpackedBytes), MaxUnpackedBytes, 1), (nameof(MaxSpoolBytes), MaxSpoolBytes, 1),
            (nameof(MaxExpansion), MaxExpansion, 1), (nameof(MaxTensors), MaxTensors, 1),
            (nameof(MaxClients), MaxClients, 1), (nameof(MaxSessions), MaxSessions, 1),
        ])
        {
            if (!(value >= least))
                errors.Add(string.Create(CultureInfo.InvariantCulture, $"FedIcu:{name} is {value}; at least {least} was expected."));
        }

        foreach ((string name, TimeSpan value) in (ReadOnlySpan<(string, TimeSpan)>)
            [(nameof(IdleTimeout), IdleTimeout), (nameof(StoreTimeout), StoreTimeout), (nameof(AggregationTimeout), AggregationTimeout)])
        {
            if (value <= TimeSpan.Zero || value > LongestTimeout)
                errors.Add($"FedIcu:{name} is {value}; more than 0 and at most 24 days was expected.");
        }

        if (errors.Count > 0)
            throw new InvalidOptionsException(errors);
    }
}
