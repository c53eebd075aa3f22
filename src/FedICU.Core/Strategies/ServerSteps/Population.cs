using FedICU.Text;

namespace FedICU.Strategies.ServerSteps;

/// <summary>M, the number of all clients, of which N take part in a round.</summary>
internal static class Population
{
    /// <summary>Refuses a population of fewer clients than take part.</summary>
    public static void Check(RoundPlan plan, string stage, long? population)
    {
        if (population < plan.CountAtStart)
        {
            throw RoundPlan.Refuse(
                $"{Sentence.Quote(stage)} has the population {population}, but {Sentence.Count(plan.CountAtStart, "client")} " +
                $"{Sentence.Form(plan.CountAtStart, "takes", "take")} part; at least as many were expected.");
        }
    }

    /// <summary>Describes a population that is none; null if it may be one.</summary>
    public static string? Describe(long? population) =>
        population < 1 ? $"population is {population}; a whole number of at least 1, or auto, was expected." : null;
}
