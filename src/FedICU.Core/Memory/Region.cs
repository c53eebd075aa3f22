namespace FedICU.Memory;

/// <summary>Native memory of whole huge pages.</summary>
/// <param name="Pointer">The address, a multiple of a huge page.</param>
/// <param name="Bytes">The size.</param>
/// <param name="KeptSince">When the region was returned to the cache, in milliseconds.</param>
internal readonly record struct Region(nint Pointer, long Bytes, long KeptSince = 0);
