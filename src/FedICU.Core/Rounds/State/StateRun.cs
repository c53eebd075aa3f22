using System.Runtime.InteropServices;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.State;

/// <summary>The server's steps of one run over the tensors: they read the old state and write the new one.</summary>
/// <param name="stages">The rule.</param>
/// <param name="before">The old state; null in the first round.</param>
/// <param name="after">Receives the new state; null if it is not kept.</param>
internal sealed unsafe class StateRun(StageSequence stages, TensorSource? before, TensorSink? after)
{
    // elements that are carried over at a time: chosen, a few pieces for each cache
    private const int CarriedElements = 1 << 16;

    public StageSequence Stages => stages;

    /// <summary>Begins a tensor; null if no step does anything in this round.</summary>
    public StepFinish? Begin(TensorContext tensor)
    {
        // most rules have no steps, and nothing is allocated for their tensors
        ServerStep[] steps = stages.Steps.Count == 0 ? [] : [.. stages.Steps.Where(step => !step.IsIdle(tensor.Plan))];
        return steps.Length == 0 ? null : new StepFinish(stages, steps, tensor, OpenSlots(tensor.Info));
    }

    /// <summary>Keeps the old state of a tensor that is not merged.</summary>
    public void Carry(TensorInfo tensor, CancellationToken cancellationToken)
    {
        if (after is null)
            return;
        using var scratch = new Scratch();
        foreach (StateSlotRun slot in OpenSlots(tensor))
        {
            using (slot)
            {
                for (long start = 0; start < tensor.ElementCount; start += CarriedElements)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    scratch.Reset();
                    int count = (int)Math.Min(CarriedElements, tensor.ElementCount - start);
                    StateSlotRun.Panel panel = slot.Begin(start, count, scratch);
                    double* values = (double*)scratch.Take((long)count * sizeof(double));
                    panel.Read(values, start, count);
                    panel.Write(values, start, count);
                    panel.End();
                }
            }
        }
    }

    /// <summary>Writes the plan's numbers to the new state.</summary>
    public void WriteScalars(RoundPlan plan)
    {
        foreach ((string key, StateScalar scalar) in stages.Scalars)
        {
            double value = plan.GetScalar(scalar.Name);
            after?.Write(new TensorInfo(key, DType.F64, new TensorShape()), 0, MemoryMarshal.AsBytes(new ReadOnlySpan<double>(ref value)));
        }
    }

    private StateSlotRun[] OpenSlots(TensorInfo tensor) =>
        [.. stages.State.Select(state => new StateSlotRun(StateTensors.Describe(tensor, state.Key), state.Slot, before, after))];
}
