namespace FedICU.Fedn.Npz;

/// <summary>An entry of a zip archive.</summary>
/// <param name="Name">The entry's name.</param>
/// <param name="IsDeflated">Whether the bytes are deflated, not stored.</param>
/// <param name="Packed">The number of bytes in the archive.</param>
/// <param name="Unpacked">The number of bytes once unpacked.</param>
/// <param name="Crc">The CRC-32 of the unpacked bytes.</param>
/// <param name="Header">The offset of the entry's local header in the archive.</param>
internal readonly record struct ZipEntry(string Name, bool IsDeflated, long Packed, long Unpacked, uint Crc, long Header);
