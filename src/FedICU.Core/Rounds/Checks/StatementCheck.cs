using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.Checks;

/// <summary>Checks what the clients state about their training, where a stage reads it.</summary>
internal sealed class StatementCheck(RoundCheck check, RoundOptions options, TensorSource global, StageSequence? stages)
{
    private readonly Stage[] _readers = [.. stages?.All.Where(stage => stage.ReadsStatements || stage.ReadsControls) ?? []];

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
            var client = new RoundClient(participant.Id, participant.Weight, 0) { Statements = participant.Statements };
            string? fault = _readers.Select(stage => stage.DescribeFault(client)).FirstOrDefault(fault => fault is not null);
            fault ??= _readers.Any(stage => stage.ReadsControls) ? OpenControl(participant) : null;
            return fault is null ? null : $"{participant.NameWithFile}: {fault}.";
        }
        catch (InvalidModelException e)
        {
            return $"{participant.Name}: {e.Message}";
        }
    }

    /// <summary>Opens and checks the client's control variates: a tensor for each float tensor of the model.</summary>
    private string? OpenControl(Participant participant)
    {
        if (participant.OpenControl() is not { } control)
            return "its control variates are missing; a model was expected (\"control\" in the clients' list)";
        return ExpectedTensor.DescribeFault(control, global, "have") is { } fault
            ? $"its control variates{participant.ControlPlace} {fault}" : null;
    }
}
