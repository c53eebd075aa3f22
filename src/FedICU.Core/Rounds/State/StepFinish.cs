using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Rounds.State;

/// <summary>
/// Applies the server's steps to the merged values of one tensor: D = merged - x, the steps, x + D, one rounding.
/// </summary>
internal sealed unsafe class StepFinish(StateRun run, TensorContext tensor, StateSlotRun[] slots) : PanelFinish, IDisposable
{
    // a single adaptive step has a verb of its own, without tiles of the model and its state
    private readonly AdaptiveStep? _adaptive = run.Stages.Steps is [{ } only] ? only.GetAdaptiveStep(tensor.Plan) : null;

    public override Panel Begin(long start, int length, Scratch scratch) => new StepPanel(this, start, length, scratch);

    public void Dispose() => Array.ForEach(slots, slot => slot.Dispose());

    private sealed class StepPanel : Panel
    {
        private readonly StepFinish _finish;
        private readonly StateSlotRun.Panel[] _slots;
        private readonly TensorPanel _global;
        private readonly long _first;
        private readonly int _stride;
        private readonly double* _tile;

        public StepPanel(StepFinish finish, long start, int length, Scratch scratch)
        {
            (_finish, _first) = (finish, start);
            _slots = finish.BeginSlots(start, length, scratch);
            _global = finish.Tensor.Global.Read(start, length, scratch);
            _stride = Math.Min(length, finish.Tensor.Passes.LargestTile);
            // the global model's elements, then those of each slot
            _tile = (double*)scratch.Take((long)_stride * (_slots.Length + 1) * sizeof(double));
        }

        public override long Finish(double* merged, long start, int count, TensorPanel output)
        {
            TensorInfo tensor = _finish.Tensor.Info;
            if (_finish._adaptive is { } adaptive && output.DType == _global.DType
                && _slots is [{ IsComplete: true } m, { IsComplete: true } v])
            {
                long at = start - _first;
                var panels = new AdaptivePanels(
                    new TensorPanel(merged, DType.F64), _global.From(at), m.Old.From(at), v.Old.From(at), output, m.Next.From(at),
                    v.Next.From(at));
                return StateRun.Backend.Apply(adaptive, panels, count);
            }

            double* state = _tile + _stride;
            StateRun.Backend.WeightedSum([_global.From(start - _first)], [1], 1, count, new TensorPanel(_tile, DType.F64));
            Span<double> update = new(merged, count), global = new(_tile, count);
            for (int i = 0; i < _slots.Length; i++)
                _slots[i].Read(state + (long)i * _stride, start, count);
            TensorPrimitives.Subtract(update, global, update);
            double* own = state;
            // by index, because an enumerator would be allocated for each tile
            for (int i = 0; i < _finish.Steps.Count; i++)
            {
                ServerStep step = _finish.Steps[i];
                step.Apply(new ElementBlock(_finish.Tensor.Plan, tensor, start, update, global, own, _stride));
                own += (long)step.State.Count * _stride;
            }

            TensorPrimitives.Add(global, update, update);
            long nonFinite = StateRun.Backend.WeightedSum([new TensorPanel(merged, DType.F64)], [1], 1, count, output);
            for (int i = 0; i < _slots.Length; i++)
                nonFinite += _slots[i].Write(state + (long)i * _stride, start, count);
            return nonFinite;
        }

        public override void End()
        {
            foreach (StateSlotRun.Panel slot in _slots)
                slot.End();
        }
    }

    private TensorContext Tensor => tensor;

    private IReadOnlyList<ServerStep> Steps => run.Stages.Steps;

    private StateSlotRun.Panel[] BeginSlots(long start, int length, Scratch scratch) =>
        [.. slots.Select(slot => slot.Begin(start, length, scratch))];
}
