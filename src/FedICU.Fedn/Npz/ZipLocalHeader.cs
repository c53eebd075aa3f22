using FedICU.Text;
using Microsoft.Win32.SafeHandles;
using static FedICU.Fedn.Npz.ZipFormat;

namespace FedICU.Fedn.Npz;

/// <summary>
/// The header before an entry's bytes. It must state the same as the directory: a reader that trusts the one would
/// otherwise read another model than a reader that trusts the other.
/// </summary>
internal static class ZipLocalHeader
{
    /// <summary>The bytes of the fixed part.</summary>
    public const int Length = 30;

    private const long Signature = 0x04034b50;

    /// <summary>Checks an entry's header, and returns the offset of the entry's bytes.</summary>
    /// <exception cref="InvalidModelException">The header is missing or contradicts the directory.</exception>
    public static long Check(SafeFileHandle file, ZipEntry entry)
    {
        byte[] header = ReadBytes(file, entry.Header, Length);
        if (ReadUInt32(header, 0) != Signature)
            throw Malformed($"its entry {Sentence.Quote(entry.Name)} has no header");
        int nameLength = ReadUInt16(header, 26), extraLength = ReadUInt16(header, 28);
        byte[] rest = ReadBytes(file, entry.Header + Length, nameLength + extraLength);
        if (!rest.AsSpan(0, nameLength).SequenceEqual(entry.RawName))
            throw Contradiction("another name");
        if (ReadUInt16(header, 6) != entry.Flags || ReadUInt16(header, 8) != (entry.IsDeflated ? 8 : 0))
            throw Contradiction("other flags or another method");
        ReadOnlySpan<byte> wide = FindZip64Field(rest.AsSpan(nameLength));
        long packed = ReadUInt32(header, 18), unpacked = ReadUInt32(header, 22);
        unpacked = Widen(unpacked, ref wide);
        packed = Widen(packed, ref wide);
        if (!Agrees(ReadUInt32(header, 14), entry.Crc) || !Agrees(packed, entry.Packed) || !Agrees(unpacked, entry.Unpacked))
            throw Contradiction("another size or checksum");
        return entry.Header + Length + nameLength + extraLength;

        // with a data descriptor the header was written before the values were known, and states 0
        bool Agrees(long local, long central) => local == central || local == 0 && entry.HasDescriptor;

        InvalidModelException Contradiction(string what) =>
            Malformed($"the header of its entry {Sentence.Quote(entry.Name)} states {what} than its directory");
    }
}
