using FedICU.Compute;
using FedICU.Memory;
using FedICU.Panels;

namespace FedICU.Rounds.State;

/// <summary>One tensor of the state: read from the old state and written to the new one.</summary>
/// <param name="tensor">The tensor in both.</param>
/// <param name="slot">Its slot, which has the value before the first round.</param>
/// <param name="before">The old state; null in the first round.</param>
/// <param name="after">The new state; null if it is not kept.</param>
internal sealed unsafe class StateSlotRun(TensorInfo tensor, StateSlot slot, TensorSource? before, TensorSink? after) : IDisposable
{
    private readonly DensePanelReader? _reader = before is null ? null : new DensePanelReader(before, before.Find(tensor.Name)!);
    private readonly PanelWriter _writer = new(after, tensor);

    /// <summary>Reads a panel of the old state. The memory is valid until the scratch is reset.</summary>
    public Panel Begin(long start, int length, Scratch scratch) =>
        new(this, start, length, _reader?.Read(start, length, scratch) ?? default, _writer.Begin(start, length, scratch));

    public void Dispose() => _reader?.Dispose();

    /// <summary>A panel of the old and the new state.</summary>
    internal readonly struct Panel(StateSlotRun run, long first, int length, TensorPanel old, TensorPanel next)
    {
        /// <summary>Gets whether there is an old state, and the new one is kept.</summary>
        public bool IsComplete => old.Data is not null && next.Data is not null;

        public TensorPanel Old => old;

        public TensorPanel Next => next;

        private double Initial => run.InitialValue;

        /// <summary>Widens elements of the old state.</summary>
        public void Read(double* values, long start, int count)
        {
            if (old.Data is null)
                new Span<double>(values, count).Fill(Initial);
            else
                TensorPasses.Cpu.WeightedSum([old.From(start - first)], [1], 1, count, new TensorPanel(values, DType.F64));
        }

        /// <summary>Rounds elements of the new state.</summary>
        /// <returns>The number of results that are not finite.</returns>
        public long Write(double* values, long start, int count) => next.Data is null
            ? TensorPasses.Cpu.CountNonFinite(new TensorPanel(values, DType.F64), count)
            : TensorPasses.Cpu.WeightedSum([new TensorPanel(values, DType.F64)], [1], 1, count, next.From(start - first));

        /// <summary>Writes the panel after its last element.</summary>
        public void End() => run.End(next, first, length);
    }

    private double InitialValue => slot.Initial;

    private void End(TensorPanel next, long first, int length) => _writer.End(next, first, length);
}
