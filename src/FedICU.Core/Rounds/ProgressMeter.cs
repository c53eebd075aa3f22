using FedICU.Panels;

namespace FedICU.Rounds;

/// <summary>
/// Reports the progress of a phase of a round: after each tensor, and within large tensors after each percent of the
/// phase. Thread-safe; reports come one at a time.
/// </summary>
/// <param name="progress">Receives the reports.</param>
/// <param name="phase">The phase.</param>
/// <param name="total">The bytes of the phase.</param>
internal sealed class ProgressMeter(IProgress<RoundProgress> progress, string phase, long total)
{
    // the bytes between two reports within a tensor: a hundredth of the phase, but at least this, chosen so that
    // reports cost nothing
    private const long MinimumStep = 4 << 20;

    private readonly Lock _gate = new();
    private readonly long _step = Math.Max(total / 100, MinimumStep);
    private long _done;
    private long _reported;

    /// <summary>Begins a tensor. Several tensors may be in progress at once.</summary>
    public TensorProgress Begin(TensorInfo tensor) => new(this, tensor);

    private void Add(TensorInfo tensor, long bytes, bool ends)
    {
        _done += bytes;
        if (!ends && _done - _reported < _step)
            return;
        _reported = _done;
        progress.Report(new RoundProgress(phase, tensor.Name, _done, total));
    }

    /// <summary>The progress of one tensor.</summary>
    internal sealed class TensorProgress(ProgressMeter meter, TensorInfo tensor) : IPassProgress
    {
        private long _done;
        private long _passStart, _passBytes;
        private int _pieces, _finished;

        /// <summary>
        /// Begins a pass over the tensor. The number of passes is not known: the last one counts for the rest of the
        /// tensor's bytes, each other one for half of the rest.
        /// </summary>
        public void BeginPass(int pieces, bool last)
        {
            long left = tensor.ByteLength - _done;
            (_passStart, _passBytes, _pieces, _finished) = (_done, last ? left : left / 2, pieces, 0);
        }

        /// <summary>Ends a piece of the pass.</summary>
        public void EndPiece()
        {
            lock (meter._gate)
                MoveTo(_passStart + (long)((Int128)_passBytes * ++_finished / _pieces));
        }

        /// <summary>Adds bytes that were read.</summary>
        public void Add(long bytes)
        {
            lock (meter._gate)
                MoveTo(_done + bytes);
        }

        /// <summary>Ends the tensor.</summary>
        public void End()
        {
            lock (meter._gate)
            {
                meter.Add(tensor, tensor.ByteLength - _done, ends: true);
                _done = tensor.ByteLength;
            }
        }

        // End reports the tensor's end
        private void MoveTo(long done)
        {
            if (done >= tensor.ByteLength)
                return;
            meter.Add(tensor, done - _done, ends: false);
            _done = done;
        }
    }
}
