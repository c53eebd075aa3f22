using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn.Npz;

/// <summary>
/// Reads the central directory of a zip archive and checks every size in it against the limits before anything is
/// unpacked. It supports what numpy writes: stored and deflated entries, and zip64, but no encryption and no volumes.
/// </summary>
internal static class ZipDirectory
{
    // bytes; the fixed parts of the zip format's records
    private const int EndLength = 22, LocatorLength = 20, End64Length = 56, RecordLength = 46, LocalLength = 30;

    // bytes; the zip format's limit for the comment at the end
    private const int LongestComment = 65_535;

    // bytes; chosen
    private const long LongestDirectory = 64 << 20;

    // unpacked bytes up to which the expansion is not limited; chosen, because a model of zeros packs a thousandfold
    private const long UnlimitedBytes = 64 << 20;

    // the signatures of the zip format's records
    private const long LocalSignature = 0x04034b50, RecordSignature = 0x02014b50, EndSignature = 0x06054b50;
    private const long LocatorSignature = 0x07064b50, End64Signature = 0x06064b50;

    // values that the zip format reserves: the real value is in a zip64 field
    private const int Zip64Half = 0xffff;
    private const long Zip64Word = 0xffffffff;

    private static readonly UTF8Encoding StrictUtf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>Reads the entries in the archive's order.</summary>
    /// <exception cref="InvalidModelException">The file is not such an archive, or it exceeds a limit.</exception>
    public static List<ZipEntry> Read(SafeFileHandle file, NpzLimits limits)
    {
        long length = RandomAccess.GetLength(file);
        (long count, long size, long start) = FindDirectory(file, length);
        if (count > limits.MaxTensors)
            throw new InvalidModelException($"the archive has {count} entries; at most {limits.MaxTensors} were expected.");
        if (size < 0 || start < 0 || size > LongestDirectory || size > length || start > length - size || size < count * RecordLength)
            throw Malformed("its directory is outside the file");
        byte[] directory = ReadBytes(file, start, (int)size);
        var entries = new List<ZipEntry>((int)count);
        var names = new HashSet<string>(StringComparer.Ordinal);
        Int128 packed = 0, unpacked = 0;
        ReadOnlySpan<byte> rest = directory;
        for (long i = 0; i < count; i++)
        {
            ZipEntry entry = ReadRecord(ref rest);
            if (!names.Add(entry.Name))
                throw new InvalidModelException($"the archive has two entries {Sentence.Quote(entry.Name)}.");
            if (entry.Header > start - LocalLength || entry.Packed > start - LocalLength - entry.Header)
                throw Malformed($"its entry {Sentence.Quote(entry.Name)} is outside the file");
            entries.Add(entry);
            (packed, unpacked) = (packed + entry.Packed, unpacked + entry.Unpacked);
        }

        // entries that share their bytes are a second kind of zip bomb
        if (packed > length)
            throw Malformed("its entries overlap");
        if (unpacked > limits.MaxBytes)
            throw new InvalidModelException($"the archive unpacks to {unpacked} bytes; at most {limits.MaxBytes} were expected.");
        if (unpacked > UnlimitedBytes && (double)unpacked > limits.MaxExpansion * length)
        {
            throw new InvalidModelException(
                $"the archive of {length} bytes unpacks to {unpacked}; at most {limits.MaxExpansion} times as many were expected.");
        }

        return entries;
    }

    /// <summary>Opens an entry's unpacked bytes.</summary>
    public static Stream Open(SafeFileHandle file, ZipEntry entry)
    {
        byte[] local = ReadBytes(file, entry.Header, LocalLength);
        if (ReadUInt32(local, 0) != LocalSignature)
            throw Malformed($"its entry {Sentence.Quote(entry.Name)} has no header");
        long start = entry.Header + LocalLength + ReadUInt16(local, 26) + ReadUInt16(local, 28);
        if (start > RandomAccess.GetLength(file) - entry.Packed)
            throw Malformed($"its entry {Sentence.Quote(entry.Name)} is outside the file");
        var packed = new FilePart(file, start, entry.Packed);
        return entry.IsDeflated ? new DeflateStream(packed, CompressionMode.Decompress) : packed;
    }

    private static (long Count, long Size, long Start) FindDirectory(SafeFileHandle file, long length)
    {
        int tailLength = (int)Math.Min(length, EndLength + LongestComment);
        byte[] tail = ReadBytes(file, length - tailLength, tailLength);
        int at = tailLength - EndLength;
        while (at >= 0 && !(ReadUInt32(tail, at) == EndSignature && at + EndLength + ReadUInt16(tail, at + 20) == tailLength))
            at--;
        if (at < 0)
            throw Malformed("it has no directory at its end; it may be truncated");
        (long count, long size, long start) = (ReadUInt16(tail, at + 10), ReadUInt32(tail, at + 12), ReadUInt32(tail, at + 16));
        bool hasVolumes = ReadUInt16(tail, at + 4) is not (0 or Zip64Half) || ReadUInt16(tail, at + 6) is not (0 or Zip64Half);
        if (count == Zip64Half || size == Zip64Word || start == Zip64Word)
        {
            long locator = length - tailLength + at - LocatorLength;
            byte[] bytes = locator < 0 ? [] : ReadBytes(file, locator, LocatorLength);
            if (bytes.Length == 0 || ReadUInt32(bytes, 0) != LocatorSignature)
                throw Malformed("its zip64 directory is missing");
            long end = ReadInt64(bytes, 8);
            if (end < 0 || end > locator - End64Length)
                throw Malformed("its zip64 directory is outside the file");
            byte[] end64 = ReadBytes(file, end, End64Length);
            if (ReadUInt32(end64, 0) != End64Signature)
                throw Malformed("its zip64 directory is missing");
            hasVolumes |= ReadUInt32(end64, 16) != 0 || ReadUInt32(end64, 20) != 0;
            (count, size, start) = (ReadInt64(end64, 32), ReadInt64(end64, 40), ReadInt64(end64, 48));
        }

        if (hasVolumes)
            throw Malformed("it is one of several volumes");
        if (count < 0)
            throw Malformed("its number of entries is negative");
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
        string name = DecodeName(rest.Slice(RecordLength, nameLength));
        (long packed, long unpacked, long header) = (ReadUInt32(rest, 20), ReadUInt32(rest, 24), ReadUInt32(rest, 42));
        ReadOnlySpan<byte> wide = FindZip64Field(rest.Slice(RecordLength + nameLength, extraLength));
        unpacked = Widen(unpacked, ref wide);
        packed = Widen(packed, ref wide);
        header = Widen(header, ref wide);
        int flags = ReadUInt16(rest, 8), method = ReadUInt16(rest, 10);
        uint crc = (uint)ReadUInt32(rest, 16);
        rest = rest[total..];
        if (packed < 0 || unpacked < 0 || header < 0)
            throw Malformed($"its entry {Sentence.Quote(name)} has a negative size");
        if ((flags & 1) != 0)
            throw new InvalidModelException($"the archive's entry {Sentence.Quote(name)} is encrypted.");
        if (method is not (0 or 8))
        {
            throw new InvalidModelException(
                $"the archive's entry {Sentence.Quote(name)} is packed by method {method}; 0 (stored) or 8 (deflated) was expected.");
        }

        if (method == 0 && packed != unpacked)
            throw Malformed($"its entry {Sentence.Quote(name)} is stored in {packed} bytes but states {unpacked}");
        return new ZipEntry(name, method == 8, packed, unpacked, crc, header);
    }

    private static string DecodeName(ReadOnlySpan<byte> name)
    {
        try
        {
            return StrictUtf8.GetString(name);
        }
        catch (DecoderFallbackException)
        {
            throw Malformed("it has an entry whose name is not text in UTF-8");
        }
    }

    /// <summary>Finds the content of the zip64 field; empty if there is none.</summary>
    private static ReadOnlySpan<byte> FindZip64Field(ReadOnlySpan<byte> extra)
    {
        while (extra.Length >= 4)
        {
            int id = ReadUInt16(extra, 0), size = Math.Min(ReadUInt16(extra, 2), extra.Length - 4);
            if (id == 1)
                return extra.Slice(4, size);
            extra = extra[(4 + size)..];
        }

        return [];
    }

    /// <summary>Returns a value, or the next one of the zip64 field if the value is reserved for that.</summary>
    private static long Widen(long value, ref ReadOnlySpan<byte> wide)
    {
        if (value != Zip64Word || wide.Length < 8)
            return value;
        value = ReadInt64(wide, 0);
        wide = wide[8..];
        return value;
    }

    private static byte[] ReadBytes(SafeFileHandle file, long offset, int count)
    {
        byte[] bytes = new byte[count];
        for (int done = 0; done < count;)
        {
            int read = RandomAccess.Read(file, bytes.AsSpan(done), offset + done);
            if (read == 0)
                throw Malformed("it is truncated");
            done += read;
        }

        return bytes;
    }

    private static int ReadUInt16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    private static long ReadUInt32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    private static long ReadInt64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);

    private static InvalidModelException Malformed(string why) => new($"the archive is not an npz file: {why}.");
}
