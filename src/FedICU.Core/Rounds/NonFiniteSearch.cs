using FedICU.Panels;
using FedICU.Rounds.Checks;
using FedICU.Rounds.State;
using FedICU.Strategies.Abstractions;
using FedICU.Text;

namespace FedICU.Rounds;

/// <summary>
/// Looks for the cause of a result that is not finite, and applies the policy to the clients that are: the round then
/// starts over without them.
/// </summary>
/// <param name="global">The model before the round.</param>
/// <param name="options">The round's options.</param>
/// <param name="check">Applies the policies.</param>
/// <param name="run">The run that failed.</param>
/// <param name="state">The server's state that the run read.</param>
/// <param name="models">The models beside the global one that stages read.</param>
/// <param name="isPrivate">
/// Whether nothing of a single client's data may be said: how many values are wrong, for one.
/// </param>
internal sealed class NonFiniteSearch(
    TensorSource global, RoundOptions options, RoundCheck check, RoundRun run, StateKeeper state, StageModels models, bool isPrivate)
{
    /// <summary>Finds the clients whose values are not finite and applies the policy to them.</summary>
    /// <exception cref="RoundRejectedException">The policy rejects the round, or no client is the cause.</exception>
    public void Explain(NonFiniteOutputException failure)
    {
        // the failure may hold the output's tensor, whose type can differ from the global model's
        TensorInfo failed = global.Find(failure.Tensor.Name)!;
        RequireFiniteState(failed);
        RequireFiniteModels(failed);
        // all tensors are searched, so that the round starts over only once; a tensor's weights may also depend on
        // another tensor's values
        int faults = FindNonFinite(failed, failed: true) + FindNonFiniteControls(failed);
        foreach (TensorInfo tensor in global.Tensors.Where(tensor => tensor.DType.IsComputed && tensor != failed))
            faults += FindNonFinite(tensor, failed: false);
        if (faults == 0 && !FindTooLarge(failed) && !DropLargest(failure, failed))
        {
            string name = failure.Tensor.Name;
            throw new RoundRejectedException(RoundFault.NonFinite, $"Tensor {Sentence.Quote(name)}: {failure.Message}", tensor: name);
        }
    }

    private string Count(long count) => isPrivate ? "values that are not finite" : Sentence.NonFinite(count);

    /// <summary>Counts values of a client's tensor, which may be a LoRA factor of another rank.</summary>
    private long Count(
        OpenTensorContext context, Participant participant, PanelReader input, Func<TensorPasses, PanelReader, long> count)
    {
        TensorInfo tensor = context.Info;
        if (participant.Find(tensor.Name) is not { } own || own.ElementCount == tensor.ElementCount)
            return count(context.Passes, input);
        TensorInfo inShape = tensor with { Shape = own.Shape };
        using var ownContext = new OpenTensorContext(run, inShape, RoundPlanner.GetOutput(inShape, options));
        return count(ownContext.Passes, input);
    }

    /// <summary>Refuses the round if the old state of a tensor is not finite: no client is the cause.</summary>
    private void RequireFiniteState(TensorInfo tensor)
    {
        using var context = new OpenTensorContext(run, tensor, RoundPlanner.GetOutput(tensor, options));
        foreach (TensorInfo before in state.FindBefore(tensor))
        {
            using var reader = new DensePanelReader(state.Before!, before);
            if (context.Passes.CountNonFinite(reader) is var count and > 0)
            {
                throw RoundCheck.CreateRefusal(
                    $"The state {Sentence.Quote(state.Before!.Location)}: tensor {Sentence.Quote(before.Name)} has " +
                    $"{Sentence.NonFinite(count)}; finite values were expected.");
            }
        }
    }

    /// <summary>
    /// Refuses the round if a tensor of a model beside the global one is not finite: no client is the cause.
    /// </summary>
    private void RequireFiniteModels(TensorInfo tensor)
    {
        using var context = new OpenTensorContext(run, tensor, RoundPlanner.GetOutput(tensor, options));
        foreach ((string name, TensorSource model) in models.ByName)
        {
            using var reader = new DensePanelReader(model, model.Find(tensor.Name)!);
            if (context.Passes.CountNonFinite(reader) is var count and > 0)
            {
                throw RoundCheck.CreateRefusal(
                    $"{models.Describe(name)}: tensor {Sentence.Quote(tensor.Name)} has {Sentence.NonFinite(count)}; " +
                    "finite values were expected.");
            }
        }
    }

    /// <summary>Applies the policy to clients whose values of a tensor are not finite.</summary>
    /// <param name="tensor">The tensor.</param>
    /// <param name="failed">
    /// Whether the output of this tensor failed. Only then may the global model be the cause: values of its other
    /// tensors may not have been used at all.
    /// </param>
    /// <returns>The number of such clients.</returns>
    private int FindNonFinite(TensorInfo tensor, bool failed)
    {
        if (run.Dropped.ContainsKey(tensor.Name))
            return 0;
        using var context = new OpenTensorContext(run, tensor, RoundPlanner.GetOutput(tensor, options));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        int faults = 0;
        long? inGlobal = null;
        for (int k = 0; k < inputs.Length; k++)
        {
            Participant participant = run.Participants[k];
            if (Count(context, participant, inputs[k], (passes, input) => passes.CountNonFinite(input)) is not (var count and > 0))
                continue;
            // a delta or sparse update is completed with values of the global model, which may be the cause
            if (participant.Kind != UpdateKind.Full && (inGlobal ??= context.Passes.CountNonFinite(context.Global)) > 0)
            {
                if (failed)
                    break;
                continue;
            }

            check.NonFinite[(participant.Id, tensor.Name)] = count;
            // the sum of a finite delta and the global model may overflow float64
            bool isSum = participant.Kind == UpdateKind.Delta &&
                context.Passes.CountNonFinite(context.Inputs(UpdateForm.Delta, withGlobal: false)[k]) == 0;
            string found = isSum ? "is a delta that, added to the global model, has" : "has";
            check.ApplyPolicy(options.OnNonFinite, RoundFault.NonFinite, participant, tensor.Name,
                $"{participant.NameWithFile}: tensor {Sentence.Quote(tensor.Name)} {found} {Count(count)}; " +
                "finite values were expected.");
            faults++;
        }

        if (failed && (faults == 0 || inGlobal > 0) && (inGlobal ?? context.Passes.CountNonFinite(context.Global)) is var own and > 0)
        {
            string location = global.IsInMemory ? "" : $" in {Sentence.Quote(global.Location)}";
            throw new RoundRejectedException(
                RoundFault.NonFinite,
                $"The global model's tensor {Sentence.Quote(tensor.Name)}{location} has {Sentence.NonFinite(own)}; " +
                "finite values were expected.",
                tensor: tensor.Name);
        }

        return faults;
    }

    /// <summary>Applies the policy to clients whose control variates of a tensor are not finite.</summary>
    private int FindNonFiniteControls(TensorInfo tensor)
    {
        using var context = new OpenTensorContext(run, tensor, RoundPlanner.GetOutput(tensor, options));
        int faults = 0;
        foreach (Participant participant in run.Participants.Where(participant => participant.Control is not null))
        {
            using var reader = new DensePanelReader(participant.Control!, participant.Control!.Find(tensor.Name)!);
            if (context.Passes.CountNonFinite(reader) is not (var count and > 0))
                continue;
            check.ApplyPolicy(options.OnNonFinite, RoundFault.NonFinite, participant, tensor.Name,
                $"{participant.Name}: its control variates{participant.ControlPlace} have for tensor {Sentence.Quote(tensor.Name)} " +
                $"{Count(count)}; finite values were expected.");
            faults++;
        }

        return faults;
    }

    /// <summary>
    /// Applies the policy to clients whose finite values do not fit the output's type, as values of a wider type may
    /// not: one such client must not end every round.
    /// </summary>
    /// <returns>Whether there is such a client.</returns>
    private bool FindTooLarge(TensorInfo tensor)
    {
        if (run.OnDevice || run.Dropped.ContainsKey(tensor.Name))
            return false;
        using var context = new OpenTensorContext(run, tensor, RoundPlanner.GetOutput(tensor, options));
        PanelReader[] inputs = context.Inputs(UpdateForm.Parameters, withGlobal: false);
        bool found = false;
        for (int k = 0; k < inputs.Length; k++)
        {
            Participant participant = run.Participants[k];
            if (Count(context, participant, inputs[k], (passes, input) => passes.CountTooLarge(input)) is not (var count and > 0))
                continue;
            check.ApplyPolicy(options.OnNonFinite, RoundFault.NonFinite, participant, tensor.Name,
                $"{participant.NameWithFile}: tensor {Sentence.Quote(tensor.Name)} has " +
                $"{(isPrivate ? "values" : Sentence.Count(count, "value"))} too large for " +
                $"{context.Output.DType.SafetensorsName}; values that fit the output's type were expected.");
            found = true;
        }

        return found;
    }

    /// <summary>
    /// Applies the policy to the client with the largest values, for a result that does not fit although all values do.
    /// No value is wrong then, but one client must not end every round by values at the type's limit.
    /// </summary>
    /// <returns>False if the policy is to reject the round.</returns>
    private bool DropLargest(NonFiniteOutputException failure, TensorInfo tensor)
    {
        if (options.OnNonFinite == FaultPolicy.Reject || isPrivate || run.Dropped.ContainsKey(tensor.Name))
            return false;
        if (run.Participants.Any(participant => participant.Find(tensor.Name)?.Shape != tensor.Shape))
            return false;
        using var context = new OpenTensorContext(run, tensor, RoundPlanner.GetOutput(tensor, options));
        double[] norms = UpdateStatistics.Measure(context).Norms;
        Participant largest = run.Participants[Array.IndexOf(norms, norms.Max())];
        check.ApplyPolicy(options.OnNonFinite, RoundFault.NonFinite, largest, tensor.Name,
            $"{largest.NameWithFile}: tensor {Sentence.Quote(tensor.Name)} has the largest values, and {failure.Message}");
        return true;
    }
}
