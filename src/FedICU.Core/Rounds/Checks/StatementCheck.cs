using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.Checks;

/// <summary>Checks what the clients state about their training, where a stage reads it.</summary>
internal sealed class StatementCheck(RoundCheck check, RoundOptions options, StageSequence? stages)
{
    private readonly Stage[] _readers = [.. stages?.All.Where(stage => stage.ReadsStatements) ?? []];

    /// <summary>Reads the statements of a client that takes part.</summary>
    public void Check(Participant participant)
    {
        if (_readers.Length == 0)
            return;
        if (DescribeFault(participant) is { } fault)
            check.ApplyPolicy(options.OnStatement, RoundFault.Statement, participant, null, fault);
    }

    private string? DescribeFault(Participant participant)
    {
        try
        {
            participant.Statements = participant.ReadStatements(options.Round);
        }
        catch (InvalidModelException e)
        {
            return $"{participant.Name}: {e.Message}";
        }

        var client = new RoundClient(participant.Id, participant.Weight, 0) { Statements = participant.Statements };
        string? fault = _readers.Select(stage => stage.DescribeFault(client)).FirstOrDefault(fault => fault is not null);
        return fault is null ? null : $"{participant.NameWithFile}: {fault}.";
    }
}
