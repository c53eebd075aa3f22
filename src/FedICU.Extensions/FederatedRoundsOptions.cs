using Microsoft.Extensions.Configuration;

namespace FedICU.Extensions;

/// <summary>The options of <see cref="FederatedRounds"/>.</summary>
public sealed class FederatedRoundsOptions
{
    /// <summary>Gets or sets the folder of the rounds, which belongs to one server. It is required.</summary>
    public string? Folder { get; set; }

    /// <summary>
    /// Gets or sets the model of the first round: a file or an adapter's folder. It is copied at the first start and
    /// not needed afterwards.
    /// </summary>
    public string? InitialModel { get; set; }

    /// <summary>
    /// Gets or sets the name of the aggregator, as <c>AddFedIcu</c> has it. <value>Default: null, the one without a
    /// name.</value>
    /// </summary>
    public string? Aggregator { get; set; }

    /// <summary>Gets or sets the number of clients that completes a round. It is required.</summary>
    public int ExpectedClients { get; set; }

    /// <summary>
    /// Gets or sets the number of clients that is enough at the deadline, and that must remain after faulty ones were
    /// dropped, unless the aggregator's <c>quorum</c> states that. <value>Default: null, all expected clients at the
    /// deadline, half of them, rounded up, after drops.</value>
    /// </summary>
    public int? MinimumClients { get; set; }

    /// <summary>
    /// Gets or sets the time from a round's beginning to its deadline, up to 49 days. A round with fewer clients than
    /// the minimum begins again. <value>Default: null, no deadline.</value>
    /// </summary>
    public TimeSpan? Deadline { get; set; }

    /// <summary>Gets or sets the number of the last round. <value>Default: null, no end.</value></summary>
    public long? LastRound { get; set; }

    /// <summary>
    /// Gets or sets the most bytes of an update. <value>Default: null, four times the global model's tensors and 1 MiB:
    /// an F16 model's update in F64.</value>
    /// </summary>
    public long? MaxUpdateBytes { get; set; }

    /// <summary>Gets or sets whether each client must state a weight. <value>Default: false.</value></summary>
    public bool RequireWeights { get; set; }

    /// <summary>
    /// Gets or sets whether an update with NaN or infinite values is refused when it arrives. <value>Default:
    /// true.</value>
    /// </summary>
    public bool CheckValues { get; set; } = true;

    /// <summary>
    /// Gets or sets whether a client is left out of its round if its update is found to be at fault after it was
    /// accepted: every policy of the aggregator that is <c>reject</c> counts as <c>drop-client</c>. The report has the
    /// reason. If false, a fault refuses the round as the policies say, and the round begins again. <value>Default:
    /// true.</value>
    /// </summary>
    public bool DropFaultyClients { get; set; } = true;

    /// <summary>
    /// Gets or sets the number of global models that are kept, the current one included. Reports are always kept.
    /// <value>Default: 3.</value>
    /// </summary>
    public int KeptModels { get; set; } = 3;

    /// <summary>
    /// Gets or sets the number of finished rounds that <see cref="FederatedRounds.Finished"/> lists.
    /// <value>Default: 100.</value>
    /// </summary>
    public int ListedRounds { get; set; } = 100;

    /// <summary>
    /// Gets or sets the time after which a round is tried again that failed for a reason of the server, such as a full
    /// disk. <value>Default: 30 seconds.</value>
    /// </summary>
    public TimeSpan RetryDelay { get; set; } = TimeSpan.FromSeconds(30);

    /// <summary>Gets the errors found while reading the configuration, one sentence each.</summary>
    internal List<string> Faults { get; } = [];

    /// <summary>Gets the number of clients that must remain after drops, if the aggregator states none.</summary>
    internal int Quorum => MinimumClients ?? (ExpectedClients + 1) / 2;

    internal RoundCollectorOptions CreateCollectorOptions(TimeProvider clock) => new()
    {
        ExpectedClients = ExpectedClients,
        MinimumClients = MinimumClients,
        Deadline = Deadline,
        TimeProvider = clock,
    };

    internal void Read(IConfiguration section)
    {
        var reader = new SectionReader(Faults);
        reader.ReadAll(section,
        [
            (nameof(Folder), option => Folder = reader.Text(option) ?? Folder),
            (nameof(InitialModel), option => InitialModel = reader.Text(option) ?? InitialModel),
            (nameof(Aggregator), option => Aggregator = reader.Text(option) ?? Aggregator),
            (nameof(ExpectedClients), option => ExpectedClients = reader.WholeNumber(option) ?? ExpectedClients),
            (nameof(MinimumClients), option => MinimumClients = reader.WholeNumber(option) ?? MinimumClients),
            (nameof(Deadline), option => Deadline = reader.Time(option) ?? Deadline),
            (nameof(LastRound), option => LastRound = reader.LongNumber(option) ?? LastRound),
            (nameof(MaxUpdateBytes), option => MaxUpdateBytes = reader.LongNumber(option) ?? MaxUpdateBytes),
            (nameof(RequireWeights), option => RequireWeights = reader.Boolean(option) ?? RequireWeights),
            (nameof(CheckValues), option => CheckValues = reader.Boolean(option) ?? CheckValues),
            (nameof(DropFaultyClients), option => DropFaultyClients = reader.Boolean(option) ?? DropFaultyClients),
            (nameof(KeptModels), option => KeptModels = reader.WholeNumber(option) ?? KeptModels),
            (nameof(ListedRounds), option => ListedRounds = reader.WholeNumber(option) ?? ListedRounds),
            (nameof(RetryDelay), option => RetryDelay = reader.Time(option) ?? RetryDelay),
        ]);
    }
}
