using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Fedn.Npz;

/// <summary>What the readers of the zip format's records share.</summary>
internal static class ZipFormat
{
    // values that the format reserves: the real value is in a zip64 field
    public const int Reserved16 = 0xffff;
    public const long Reserved32 = 0xffffffff;

    // the id of the extra field with the 64-bit values, and of the one that replaces the entry's name
    private const int Zip64Id = 1, UnicodePathId = 0x7075;

    /// <summary>Reads bytes of the archive.</summary>
    /// <exception cref="InvalidModelException">The file ends before them.</exception>
    public static byte[] ReadBytes(SafeFileHandle file, long offset, int count)
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

    public static int ReadUInt16(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes[at..]);

    public static long ReadUInt32(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes[at..]);

    /// <summary>Reads 64 bits; a value above the largest <see cref="long"/> is negative.</summary>
    public static long ReadInt64(ReadOnlySpan<byte> bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes[at..]);

    /// <summary>Finds the content of the zip64 field in a record's extra fields; empty if there is none.</summary>
    /// <exception cref="InvalidModelException">
    /// A field ends outside, there are two zip64 fields, or a field replaces the entry's name.
    /// </exception>
    public static ReadOnlySpan<byte> FindZip64Field(ReadOnlySpan<byte> extra)
    {
        ReadOnlySpan<byte> found = [];
        bool isFound = false;
        // fewer than 4 bytes at the end are no field; zip writers pad with them
        while (extra.Length >= 4)
        {
            int id = ReadUInt16(extra, 0), size = ReadUInt16(extra, 2);
            if (size > extra.Length - 4 || id == UnicodePathId || id == Zip64Id && isFound)
                throw Malformed("it has a broken extra field");
            if (id == Zip64Id)
            {
                found = extra.Slice(4, size);
                isFound = true;
            }

            extra = extra[(4 + size)..];
        }

        return found;
    }

    /// <summary>Returns a value, or the next one of the zip64 field if the value is reserved for that.</summary>
    /// <exception cref="InvalidModelException">The zip64 field has no such value.</exception>
    public static long Widen(long value, ref ReadOnlySpan<byte> wide)
    {
        if (value != Reserved32)
            return value;
        if (wide.Length < sizeof(long))
            throw Malformed("it has a broken extra field");
        value = ReadInt64(wide, 0);
        wide = wide[sizeof(long)..];
        return value;
    }

    public static InvalidModelException Malformed(string why) => new($"the archive is not an npz file: {why}.");
}
