using System.IO.Compression;
using System.Text;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;
using static FedICU.Fedn.Npz.ZipFormat;

namespace FedICU.Fedn.Npz;

/// <summary>
/// Reads the central directory of a zip archive and checks every size in it against the limits before anything is
/// unpacked. It supports what numpy writes: stored and deflated entries, data descriptors and zip64, but no encryption,
/// no volumes, no comment, and nothing before the archive. What it accepts has one meaning only: Python's zipfile reads
/// the same entries from it.
/// </summary>
internal static class ZipDirectory
{
    // bytes; the fixed parts of the zip format's records
    private const int EndLength = 22, LocatorLength = 20, End64Length = 56, RecordLength = 46;

    // bytes that the length field of the zip64 end does not count
    private const int End64Uncounted = 12;

    // bytes; chosen, because the directory is read whole for each model that arrives: room for 100,000 entries with
    // names of 37 bytes, where numpy's names ("99999.npy") take 9
    private const long LongestDirectory = 8 << 20;

    // unpacked bytes up to which the expansion is not limited; chosen, because a model of zeros packs a thousandfold
    private const long UnlimitedBytes = 64 << 20;

    // the signatures of the zip format's records
    private const long RecordSignature = 0x02014b50, EndSignature = 0x06054b50;
    private const long LocatorSignature = 0x07064b50, End64Signature = 0x06064b50;

    // flags: encrypted; the name is UTF-8; and those that change nothing for a reader: two of deflate's speed, a data
    // descriptor
    private const int EncryptedFlag = 1, Utf8Flag = 0x800, HarmlessFlags = 2 | 4 | 8 | Utf8Flag;

    // the version of the format, 6.3, up to which Python's zipfile reads
    private const int LatestVersion = 63;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads the entries in the archive's order.</summary>
    /// <exception cref="InvalidModelException">The file is not such an archive, or it exceeds a limit.</exception>
    public static List<ZipEntry> Read(SafeFileHandle file, NpzLimits limits)
    {
        long length = RandomAccess.GetLength(file);
        (long count, long size, long start) = FindDirectory(file, length);
        if (count > limits.MaxTensors)
            throw new InvalidModelException($"the archive has {count} entries; at most {limits.MaxTensors} were expected.");
        if (size > LongestDirectory)
            throw Malformed($"its directory has {size} bytes; at most {LongestDirectory} were expected");
        if (size < count * RecordLength)
            throw Malformed("its directory has a wrong size");
        ReadOnlySpan<byte> rest = ReadBytes(file, start, (int)size);
        var entries = new List<ZipEntry>((int)count);
        var names = new HashSet<string>(StringComparer.Ordinal);
        Int128 unpacked = 0;
        for (long i = 0; i < count; i++)
        {
            ZipEntry entry = ReadRecord(ref rest);
            if (!names.Add(entry.Name))
                throw new InvalidModelException($"the archive has two entries {Sentence.Quote(entry.Name)}.");
            entries.Add(entry);
            unpacked += entry.Unpacked;
        }

        if (!rest.IsEmpty)
            throw Malformed("its directory has more entries than it states");
        CheckOverlap(entries, entry => entry.Header + ZipLocalHeader.Length + entry.RawName.Length, start);
        if (unpacked > limits.MaxBytes)
            throw new InvalidModelException($"the archive unpacks to {unpacked} bytes; at most {limits.MaxBytes} were expected.");
        if (unpacked > UnlimitedBytes && (double)unpacked > limits.MaxExpansion * length)
        {
            throw new InvalidModelException(
                $"the archive of {length} bytes unpacks to {unpacked}; at most {limits.MaxExpansion} times as many were expected.");
        }

        entries = [.. entries.Select(entry => entry with { Start = ZipLocalHeader.Check(file, entry) })];
        CheckOverlap(entries, entry => entry.Start, start);
        return entries;
    }

    /// <summary>Opens an entry's unpacked bytes.</summary>
    public static Stream Open(SafeFileHandle file, ZipEntry entry)
    {
        var packed = new FilePart(file, entry.Start, entry.Packed);
        return entry.IsDeflated ? new DeflateStream(packed, CompressionMode.Decompress) : packed;
    }

    /// <summary>
    /// Refuses entries that share bytes, which are a second kind of zip bomb, and those outside the file.
    /// </summary>
    private static void CheckOverlap(List<ZipEntry> entries, Func<ZipEntry, long> startOf, long directory)
    {
        ZipEntry? next = null;
        foreach (ZipEntry entry in entries.OrderByDescending(entry => entry.Header))
        {
            long end = next?.Header ?? directory, start = startOf(entry);
            if (entry.Header > directory - ZipLocalHeader.Length || start > directory || entry.Packed > directory - start)
                throw Malformed($"its entry {Sentence.Quote(entry.Name)} is outside the file");
            if (start > end || entry.Packed > end - start)
                throw Malformed("its entries overlap");
            next = entry;
        }
    }

    private static (long Count, long Size, long Start) FindDirectory(SafeFileHandle file, long length)
    {
        // the records at the end: the zip64 end and its locator, where they exist, and the end
        int tailLength = (int)Math.Min(length, End64Length + LocatorLength + EndLength);
        ReadOnlySpan<byte> tail = ReadBytes(file, length - tailLength, tailLength);
        if (tailLength < EndLength || ReadUInt32(tail[^EndLength..], 0) != EndSignature || ReadUInt16(tail[^EndLength..], 20) != 0)
            throw Malformed("it has no directory at its end; it may be truncated");
        ReadOnlySpan<byte> end = tail[^EndLength..];
        (long count, long size, long start) = (ReadUInt16(end, 10), ReadUInt32(end, 12), ReadUInt32(end, 16));
        long countHere = ReadUInt16(end, 8), directoryEnd = length - EndLength;
        bool hasVolumes = ReadUInt16(end, 4) is not (0 or Reserved16) || ReadUInt16(end, 6) is not (0 or Reserved16);
        ReadOnlySpan<byte> before = tail[..^EndLength];
        bool hasLocator = before.Length >= LocatorLength && ReadUInt32(before[^LocatorLength..], 0) == LocatorSignature;
        if (hasLocator || count == Reserved16 || size == Reserved32 || start == Reserved32)
        {
            if (!hasLocator || tailLength < End64Length + LocatorLength + EndLength || ReadUInt32(tail, 0) != End64Signature)
                throw Malformed("its zip64 directory is missing");
            ReadOnlySpan<byte> locator = before[^LocatorLength..];
            directoryEnd = length - tailLength;
            if (ReadInt64(locator, 8) != directoryEnd || ReadInt64(tail, 4) != End64Length - End64Uncounted)
                throw Malformed("its zip64 directory is not where its locator says");
            hasVolumes |= ReadUInt32(locator, 4) != 0 || ReadUInt32(locator, 16) > 1 || ReadUInt32(tail, 16) != 0 ||
                ReadUInt32(tail, 20) != 0;
            (long count64, long size64, long start64) = (ReadInt64(tail, 32), ReadInt64(tail, 40), ReadInt64(tail, 48));
            bool agrees = (count == Reserved16 || count == count64) && (size == Reserved32 || size == size64) &&
                (start == Reserved32 || start == start64) && (countHere is Reserved16 || countHere == count);
            if (!agrees)
                throw Malformed("its two directory ends contradict each other");
            (count, size, start, countHere) = (count64, size64, start64, ReadInt64(tail, 24));
        }

        if (hasVolumes || count != countHere)
            throw Malformed("it is one of several volumes");
        if (count < 0)
            throw Malformed("its number of entries is negative");
        // with other bytes before the archive the offsets would have two meanings
        if (size < 0 || start < 0 || size > directoryEnd || start != directoryEnd - size)
            throw Malformed("its directory is not before its end");
        return (count, size, start);
    }

    private static ZipEntry ReadRecord(ref ReadOnlySpan<byte> rest)
    {
        if (rest.Length < RecordLength || ReadUInt32(rest, 0) != RecordSignature)
            throw Malformed("its directory is broken");
        int nameLength = ReadUInt16(rest, 28), extraLength = ReadUInt16(rest, 30);
        int total = RecordLength + nameLength + extraLength + ReadUInt16(rest, 32);
        if (rest.Length < total)
            throw Malformed("its directory is broken");
        int flags = ReadUInt16(rest, 8), method = ReadUInt16(rest, 10), version = ReadUInt16(rest, 6);
        byte[] rawName = rest.Slice(RecordLength, nameLength).ToArray();
        string name = DecodeName(rawName, (flags & Utf8Flag) != 0);
        (long packed, long unpacked, long header) = (ReadUInt32(rest, 20), ReadUInt32(rest, 24), ReadUInt32(rest, 42));
        ReadOnlySpan<byte> wide = FindZip64Field(rest.Slice(RecordLength + nameLength, extraLength));
        unpacked = Widen(unpacked, ref wide);
        packed = Widen(packed, ref wide);
        header = Widen(header, ref wide);
        uint crc = (uint)ReadUInt32(rest, 16);
        bool isOnOtherVolume = ReadUInt16(rest, 34) != 0;
        rest = rest[total..];
        if (packed < 0 || unpacked < 0 || header < 0)
            throw Malformed($"its entry {Sentence.Quote(name)} has a negative size");
        if (isOnOtherVolume)
            throw Malformed("it is one of several volumes");
        if ((flags & EncryptedFlag) != 0)
            throw new InvalidModelException($"the archive's entry {Sentence.Quote(name)} is encrypted.");
        if ((flags & ~HarmlessFlags) != 0 || (version & 0xff) > LatestVersion)
        {
            throw new InvalidModelException(
                $"the archive's entry {Sentence.Quote(name)} needs an extension of the zip format " +
                $"(flags 0x{flags:x4}, version {version}), which numpy does not read.");
        }

        if (method is not (0 or 8))
        {
            throw new InvalidModelException(
                $"the archive's entry {Sentence.Quote(name)} is packed by method {method}; 0 (stored) or 8 (deflated) was expected.");
        }

        if (method == 0 && packed != unpacked)
            throw Malformed($"its entry {Sentence.Quote(name)} is stored in {packed} bytes but states {unpacked}");
        return new ZipEntry
        {
            Name = name,
            RawName = rawName,
            Flags = flags,
            IsDeflated = method == 8,
            Packed = packed,
            Unpacked = unpacked,
            Crc = crc,
            Header = header,
        };
    }

    private static string DecodeName(byte[] name, bool isUtf8)
    {
        // without the flag a reader takes other characters from a code page
        if (!isUtf8 && !Ascii.IsValid(name))
            throw Malformed("it has an entry whose name is not ASCII and not marked as UTF-8");
        // Python's zipfile cuts the name there
        if (name.AsSpan().Contains((byte)0))
            throw Malformed("it has an entry with a zero byte in its name");
        try
        {
            return StrictUtf8.GetString(name);
        }
        catch (DecoderFallbackException)
        {
            throw Malformed("it has an entry whose name is not text in UTF-8");
        }
    }
}
