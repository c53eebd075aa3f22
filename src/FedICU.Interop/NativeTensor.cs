using System.Runtime.InteropServices;

namespace FedICU.Interop;

/// <summary>fedicu_tensor of fedicu.h.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NativeTensor
{
    public byte* Name;
    public byte* DType;
    public int Rank;
    public long* Shape;
    public void* Data;
    public ulong ByteLength;
}
