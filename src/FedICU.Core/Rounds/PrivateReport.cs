namespace FedICU.Rounds;

/// <summary>Takes out of a private round's report what says something of a single client's data.</summary>
internal static class PrivateReport
{
    /// <summary>The note of a private round's report.</summary>
    public const string Note = "The round is private: its report states no weight, size, norm or count of a single client.";

    /// <summary>
    /// Returns the report with clients that all weigh the same, as they do in the sum, and without their sizes, their
    /// counts and their rows of the tensors.
    /// </summary>
    public static RoundReport Hide(RoundReport report)
    {
        double share = 1.0 / Math.Max(1, report.Clients.Count(client => client.Chosen));
        return report with
        {
            IsPrivate = true,
            Clients =
            [
                .. report.Clients.Select(client => client with
                {
                    Weight = 1, Share = client.Chosen ? share : 0, BytesSent = 0, BytesFull = 0, NonFinite = 0,
                }),
            ],
            Tensors = [.. report.Tensors.Select(tensor => tensor with { Clients = [] })],
            LoraPairs = [],
        };
    }
}
