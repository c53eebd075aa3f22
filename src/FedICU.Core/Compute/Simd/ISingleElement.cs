using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>An element type whose numbers are all binary32 numbers.</summary>
internal unsafe interface ISingleElement : IElement
{
    /// <summary>Loads sixteen elements and widens them to binary32.</summary>
    static abstract Vector512<float> LoadSingles(byte* source);
}
