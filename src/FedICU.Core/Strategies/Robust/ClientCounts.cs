using FedICU.Text;

namespace FedICU.Strategies.Robust;

/// <summary>Refuses rounds with too few clients.</summary>
internal static class ClientCounts
{
    /// <summary>Refuses a round with too few clients.</summary>
    /// <param name="plan">The round.</param>
    /// <param name="stage">The stage's name.</param>
    /// <param name="byzantine">The option; null if it is auto.</param>
    /// <param name="needed">The clients that the stage needs.</param>
    /// <param name="rule">How the number is computed: <c>2 byzantine + 3</c>.</param>
    public static void Require(RoundPlan plan, string stage, int? byzantine, long needed, string rule)
    {
        int clients = plan.Clients.Count;
        if (clients >= needed)
            return;
        string of = byzantine is null ? "" : $" with byzantine {byzantine}";
        throw RoundPlan.Refuse(
            $"{Sentence.Quote(stage)}{of} needs at least {Sentence.Count(needed, "client")} ({rule}); " +
            $"{Sentence.Count(clients, "client")} of a weight above 0 {Sentence.Form(clients, "takes", "take")} part.");
    }
}
