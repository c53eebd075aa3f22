using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Panels;

/// <summary>Copies the rows of a matrix to rows of a larger distance.</summary>
internal static unsafe class RowCopy
{
    /// <summary>Copies rows.</summary>
    /// <param name="from">The rows, one after the other.</param>
    /// <param name="rows">Their number.</param>
    /// <param name="bytes">The bytes of a row.</param>
    /// <param name="to">Where the first row goes.</param>
    /// <param name="stride">The bytes from there to where the next one goes.</param>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Run(byte* from, long rows, long bytes, byte* to, long stride)
    {
        for (long row = 0; row < rows; row++, from += bytes, to += stride)
        {
            long at = 0;
            for (; at <= bytes - Vector128<byte>.Count; at += Vector128<byte>.Count)
                Vector128.Load(from + at).Store(to + at);
            for (; at < bytes; at++)
                to[at] = from[at];
        }
    }
}
