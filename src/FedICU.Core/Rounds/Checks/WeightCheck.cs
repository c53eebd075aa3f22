using FedICU.Model;
using FedICU.Text;

namespace FedICU.Rounds.Checks;

/// <summary>Checks the clients' weights: each one, their sum, and that either all clients or none state one.</summary>
/// <param name="check">The round's check.</param>
/// <param name="options">The round's options.</param>
/// <param name="isPrivate">Whether sentences must not state a client's weight.</param>
internal sealed class WeightCheck(RoundCheck check, RoundOptions options, bool isPrivate)
{
    private const string NoWeights = $"No client states {MetadataKeys.Examples}: every client weighs 1.";

    /// <summary>
    /// Reads each client's weight, excludes clients of weight 0, and refuses the round if the sum is infinite.
    /// </summary>
    public void ReadWeights()
    {
        foreach (Participant participant in check.Included.ToList())
            ReadWeight(participant);
        foreach (Participant participant in check.Included.Where(participant => participant.Weight == 0).ToList())
        {
            participant.HasZeroWeight = true;
            participant.Exclusion = $"{participant.NameWithFile} has the weight 0.";
        }

        double sum = 0;
        foreach (Participant participant in check.Included)
        {
            sum += participant.Weight;
            if (!double.IsFinite(sum))
            {
                throw RoundCheck.CreateRefusal(
                    $"{participant.NameWithFile} has {(isPrivate ? "a weight" : $"the weight{Number(participant.Weight)}")}, " +
                    "which makes the sum of the clients' weights infinite; set max-weight lower.",
                    participant);
            }
        }
    }

    /// <summary>
    /// Applies the policy if some clients state a weight and others do not: to the smaller group, or to those without a
    /// weight if both groups are of one size.
    /// </summary>
    public void CheckAllOrNoneStated()
    {
        List<Participant> silent = [.. check.Included.Where(participant => participant.StatesNoWeight)];
        List<Participant> stating =
        [
            .. check.Participants.Where(
                participant => !participant.StatesNoWeight && (participant.Exclusion is null || participant.HasZeroWeight)),
        ];
        if (silent.Count == 0)
            return;
        if (stating.Count == 0)
        {
            check.Notes.Add(NoWeights);
            return;
        }

        if (silent.Count <= stating.Count)
        {
            foreach (Participant participant in silent)
            {
                check.ApplyPolicy(options.OnWeight, RoundFault.Weight, participant, null,
                    $"{participant.NameWithFile} states no {MetadataKeys.Examples}, but client {Sentence.Quote(stating[0].Id)} does; " +
                    "give every client a weight.");
            }
        }
        else
        {
            foreach (Participant participant in stating)
            {
                check.ApplyPolicy(options.OnWeight, RoundFault.Weight, participant, null,
                    $"{participant.NameWithFile} states {MetadataKeys.Examples}{Number(participant.Weight)}, but " +
                    $"{silent.Count} clients state none; give every client a weight.");
            }

            check.Notes.Add(NoWeights);
        }
    }

    private void ReadWeight(Participant participant)
    {
        double? weight = null;
        string? fault = null;
        try
        {
            weight = participant.ReadWeight();
            if (weight is { } stated && DescribeExpected(stated) is { } expected)
            {
                string found = isPrivate ? "another weight" : $"the weight{Number(stated)}";
                fault = $"{participant.NameWithFile} has {found}; {expected} was expected.";
            }
        }
        catch (InvalidModelException e)
        {
            fault = $"{participant.Name}: {e.Message}";
        }

        if (fault is not null)
        {
            check.ApplyPolicy(options.OnWeight, RoundFault.Weight, participant, null, fault);
            return;
        }

        participant.Weight = weight ?? 1;
        participant.StatesNoWeight = weight is null;
    }

    private string Number(double weight) => isPrivate ? "" : " " + Numbers.Invariant(weight);

    /// <summary>Describes what was expected of a weight that is not allowed; null if it is allowed.</summary>
    private string? DescribeExpected(double weight)
    {
        if (!(weight >= 0 && double.IsFinite(weight)))
            return "a finite number of at least 0";
        return weight > options.MaxWeight ? $"at most {Numbers.Invariant(options.MaxWeight)} (max-weight)" : null;
    }
}
