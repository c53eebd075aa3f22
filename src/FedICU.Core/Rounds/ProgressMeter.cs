namespace FedICU.Rounds;

/// <summary>How far a phase of a round has come: told after each tensor, and inside large ones at most every hundredth. Thread-safe; one call at a time.</summary>
internal sealed class ProgressMeter(IProgress<RoundProgress> progress, string phase, long total)
{
    private const long LeastStep = 4 << 20;

    private readonly Lock _gate = new();
    private readonly long _step = Math.Max(total / 100, LeastStep);
    private long _done;
    private long _told;

    /// <summary>Begins a tensor; several may be under way.</summary>
    public TensorProgress Begin(TensorInfo tensor) => new(this, tensor);

    /// <summary>So many bytes more of a tensor.</summary>
    private void Add(TensorInfo tensor, long bytes, bool ends)
    {
        _done += bytes;
        if (!ends && _done - _told < _step)
            return;
        _told = _done;
        progress.Report(new RoundProgress(phase, tensor.Name, _done, total));
    }

    /// <summary>One tensor's part.</summary>
    internal sealed class TensorProgress(ProgressMeter meter, TensorInfo tensor)
    {
        private long _done;
        private long _from, _share;
        private int _pieces, _finished;

        /// <summary>Begins a look at the tensor. How many will follow is not known: the last takes all that is left, each other one half of it.</summary>
        public void BeginLook(int pieces, bool last)
        {
            long left = tensor.ByteLength - _done;
            (_from, _share, _pieces, _finished) = (_done, last ? left : left / 2, pieces, 0);
        }

        /// <summary>A piece of the look is done.</summary>
        public void EndPiece()
        {
            lock (meter._gate)
                MoveTo(_from + (long)((Int128)_share * ++_finished / _pieces));
        }

        /// <summary>So many bytes more were read.</summary>
        public void Read(long bytes)
        {
            lock (meter._gate)
                MoveTo(_done + bytes);
        }

        /// <summary>The tensor is done.</summary>
        public void End()
        {
            lock (meter._gate)
            {
                meter.Add(tensor, tensor.ByteLength - _done, ends: true);
                _done = tensor.ByteLength;
            }
        }

        // the end itself is told by End
        private void MoveTo(long done)
        {
            if (done >= tensor.ByteLength)
                return;
            meter.Add(tensor, done - _done, ends: false);
            _done = done;
        }
    }
}
