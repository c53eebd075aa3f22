using FedICU.Compute;
using FedICU.Memory;

namespace FedICU.Panels;

/// <summary>
/// What happens to merged values between the merge and their one rounding: the server's steps. It runs on tiles that
/// the caches still hold.
/// </summary>
internal abstract unsafe class PanelFinish
{
    /// <summary>Begins a panel of the tensor.</summary>
    /// <param name="start">The panel's first element.</param>
    /// <param name="length">The panel's elements.</param>
    /// <param name="scratch">Memory that is valid until the panel ends.</param>
    public abstract Panel Begin(long start, int length, Scratch scratch);

    /// <summary>A panel in progress.</summary>
    internal abstract class Panel
    {
        /// <summary>Computes and rounds the output of a tile.</summary>
        /// <param name="merged">The merged values in float64, which are overwritten.</param>
        /// <param name="start">The tile's first element, counted from the tensor's first.</param>
        /// <param name="count">The tile's elements.</param>
        /// <param name="output">Receives the output.</param>
        /// <returns>The number of outputs that are not finite.</returns>
        public abstract long Finish(double* merged, long start, int count, TensorPanel output);

        /// <summary>Ends the panel after its last tile.</summary>
        public abstract void End();
    }
}
