using System.Numerics.Tensors;
using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;
using FedICU.Strategies.Abstractions;

namespace FedICU.Rounds.State;

/// <summary>
/// Applies the server's steps to the merged values of one tensor: D = merged - x, the steps, x + D, one rounding.
/// </summary>
internal sealed unsafe class StepFinish : PanelFinish, IDisposable
{
    private readonly ServerStep[] _steps;
    private readonly StateSlotRun[] _slots;
    // a single adaptive step has a verb of its own, without tiles of the model and its state
    private readonly AdaptiveStep? _adaptive;
    // the multiple is the factor of the merged update that equals the sum; null if there is none
    private readonly (ClientSumSource Source, double[] Coefficients, double? Multiple)[] _sums;
    // the number of sums of each step
    private readonly int[] _sumsOf;
    private readonly PanelReader[] _updates, _controls;

    public StepFinish(StageSequence stages, ServerStep[] steps, TensorContext tensor, StateSlotRun[] slots)
    {
        (_steps, Tensor, _slots) = (steps, tensor, slots);
        _adaptive = steps is [{ } only] ? only.GetAdaptiveStep(tensor.Plan) : null;
        IReadOnlyList<ClientSum>[] sums = [.. steps.Select(step => step.GetSums(tensor.Plan))];
        _sumsOf = [.. sums.Select(ofStep => ofStep.Count)];
        _sums = [.. sums.SelectMany(ofStep => ofStep).Select(sum => (sum.Source, Extend(sum), FindMultiple(sum)))];
        _updates = Uses(ClientSumSource.Updates) ? tensor.Inputs(UpdateForm.Parameters, withGlobal: true) : [];
        _controls = Uses(ClientSumSource.Controls) ? tensor.OpenControls() : [];
        if (_sums.Length > 0 && stages.IsPrivate)
            throw RoundPlan.Refuse("A private round has a server step that sums the clients' updates: each must be clipped and noised.");

        bool Uses(ClientSumSource source) => Array.Exists(_sums, sum => sum.Source == source && sum.Multiple is null);

        // of a plain mean, a sum with the same coefficient for all clients is a multiple of the merged update
        double? FindMultiple(ClientSum sum)
        {
            IReadOnlyList<RoundClient> clients = tensor.Plan.Clients;
            bool isMean = sum.Source == ClientSumSource.Updates && stages is { Merge.IsMean: true, Transforms.Count: 0 };
            return isMean && clients.All(client => client.Factor == 1 && client.MergeWeight == clients[0].MergeWeight)
                && sum.Coefficients.All(coefficient => coefficient == sum.Coefficients[0])
                    ? sum.Coefficients[0] * clients.Count
                    : null;
        }

        // updates are read as parameters, followed by the global model
        static double[] Extend(ClientSum sum) => sum.Source == ClientSumSource.Updates
            ? [.. sum.Coefficients, -sum.Coefficients.Sum()]
            : [.. sum.Coefficients];
    }

    public override Panel Begin(long start, int length, Scratch scratch) => new StepPanel(this, start, length, scratch);

    public void Dispose()
    {
        Array.ForEach(_slots, slot => slot.Dispose());
        Array.ForEach(_controls, reader => reader.Dispose());
    }

    private sealed class StepPanel : Panel
    {
        private readonly StepFinish _finish;
        private readonly StateSlotRun.Panel[] _slots;
        private readonly TensorPanel _global;
        private readonly TensorPanel[] _updates, _controls;
        private readonly long _first;
        private readonly int _stride;
        private readonly double* _tile;

        public StepPanel(StepFinish finish, long start, int length, Scratch scratch)
        {
            (_finish, _first) = (finish, start);
            _slots = finish.BeginSlots(start, length, scratch);
            _global = finish.Tensor.Global.Read(start, length, scratch);
            _stride = Math.Min(length, finish.Tensor.Passes.LargestTile);
            _updates = Read(finish._updates, start, length, scratch);
            _controls = Read(finish._controls, start, length, scratch);
            // the global model's elements, then those of each slot and sum
            _tile = (double*)scratch.Take((long)_stride * (_slots.Length + finish._sums.Length + 1) * sizeof(double));
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
                return TensorPasses.Cpu.Apply(adaptive, panels, count);
            }

            double* state = _tile + _stride;
            TensorPasses.Cpu.WeightedSum([_global.From(start - _first)], [1], 1, count, new TensorPanel(_tile, DType.F64));
            Span<double> update = new(merged, count), global = new(_tile, count);
            for (int i = 0; i < _slots.Length; i++)
                _slots[i].Read(state + (long)i * _stride, start, count);
            TensorPrimitives.Subtract(update, global, update);
            double* own = state, sums = state + (long)_slots.Length * _stride, ownSums = sums;
            for (int i = 0; i < _finish._sums.Length; i++)
            {
                double* sum = sums + (long)i * _stride;
                if (_finish._sums[i].Multiple is { } multiple)
                    TensorPrimitives.Multiply(update, multiple, new Span<double>(sum, count));
                else
                    Sum(_finish._sums[i], start - _first, count, sum);
            }

            for (int i = 0; i < _finish._steps.Length; i++)
            {
                ServerStep step = _finish._steps[i];
                step.Apply(new ElementBlock(_finish.Tensor.Plan, tensor, start, update, global, own, ownSums, _stride));
                own += (long)step.State.Count * _stride;
                ownSums += (long)_finish._sumsOf[i] * _stride;
            }

            // x + D, rounded to float64 and then to the output's type
            TensorPanel x = new(_tile, DType.F64), d = new(merged, DType.F64);
            long nonFinite = TensorPasses.Cpu.WeightedSum([x, d], [1, 1], 1, count, output);
            for (int i = 0; i < _slots.Length; i++)
                nonFinite += _slots[i].Write(state + (long)i * _stride, start, count);
            return nonFinite;
        }

        /// <summary>
        /// Computes sum_k c_k d_k, from parameters as sum_k c_k y_k - (sum_k c_k) x; or the sum of the control
        /// variates.
        /// </summary>
        private void Sum((ClientSumSource Source, double[] Coefficients, double? Multiple) sum, long start, int count, double* target)
        {
            TensorPanel[] read = sum.Source == ClientSumSource.Updates ? _updates : _controls;
            var panels = new TensorPanel[read.Length];
            for (int k = 0; k < panels.Length; k++)
                panels[k] = read[k].From(start);
            TensorPasses.Cpu.WeightedSum(panels, sum.Coefficients, 1, count, new TensorPanel(target, DType.F64));
        }

        private static TensorPanel[] Read(PanelReader[] readers, long start, int length, Scratch scratch)
        {
            var panels = new TensorPanel[readers.Length];
            for (int k = 0; k < panels.Length; k++)
                panels[k] = readers[k].Read(start, length, scratch);
            return panels;
        }

        public override void End()
        {
            foreach (StateSlotRun.Panel slot in _slots)
                slot.End();
        }
    }

    private TensorContext Tensor { get; }

    private StateSlotRun.Panel[] BeginSlots(long start, int length, Scratch scratch) =>
        [.. _slots.Select(slot => slot.Begin(start, length, scratch))];
}
