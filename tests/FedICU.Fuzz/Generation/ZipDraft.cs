using System.Buffers.Binary;
using System.IO.Compression;
using System.IO.Hashing;
using System.Text;

namespace FedICU.Fuzz.Generation;

/// <summary>An entry of a zip archive, whose fields may contradict each other.</summary>
internal sealed class ZipEntryDraft
{
    public required byte[] Name { get; set; }

    public required byte[] Content { get; set; }

    public bool Deflated { get; set; }

    /// <summary>Wrong fields of the directory record, by their offset in the record.</summary>
    public Dictionary<int, ulong> Wrong { get; } = [];

    public byte[] Extra { get; set; } = [];
}

/// <summary>Builds a zip archive field by field, so that each field can be wrong.</summary>
internal sealed class ZipDraft
{
    public List<ZipEntryDraft> Entries { get; } = [];

    /// <summary>Wrong fields of the end record, by their offset in the record.</summary>
    public Dictionary<int, ulong> WrongEnd { get; } = [];

    public byte[] ToBytes()
    {
        var file = new List<byte>();
        var directory = new List<byte>();
        foreach (ZipEntryDraft entry in Entries)
        {
            byte[] packed = entry.Deflated ? Deflate(entry.Content) : entry.Content;
            uint crc = Crc32.HashToUInt32(entry.Content);
            byte[] record = new byte[46];
            Put(record, 0, 4, 0x02014b50);
            Put(record, 4, 2, 20);
            Put(record, 6, 2, 20);
            // the flag of a name in UTF-8
            Put(record, 8, 2, Ascii.IsValid(entry.Name) ? 0u : 0x800u);
            Put(record, 10, 2, entry.Deflated ? 8u : 0u);
            Put(record, 16, 4, crc);
            Put(record, 20, 4, (uint)packed.Length);
            Put(record, 24, 4, (uint)entry.Content.Length);
            Put(record, 28, 2, (uint)entry.Name.Length);
            Put(record, 30, 2, (uint)entry.Extra.Length);
            Put(record, 42, 4, (uint)file.Count);
            byte[] local = new byte[30];
            record.AsSpan(6, 24).CopyTo(local.AsSpan(4));
            Put(local, 0, 4, 0x04034b50);
            Put(local, 28, 2, 0);
            foreach ((int at, ulong value) in entry.Wrong)
                Put(record, at, at is 16 or 20 or 24 or 42 ? 4 : 2, value);
            file.AddRange([.. local, .. entry.Name, .. packed]);
            directory.AddRange([.. record, .. entry.Name, .. entry.Extra]);
        }

        byte[] end = new byte[22];
        Put(end, 0, 4, 0x06054b50);
        Put(end, 8, 2, (uint)Entries.Count);
        Put(end, 10, 2, (uint)Entries.Count);
        Put(end, 12, 4, (uint)directory.Count);
        Put(end, 16, 4, (uint)file.Count);
        foreach ((int at, ulong value) in WrongEnd)
            Put(end, at, at is 12 or 16 ? 4 : 2, value);
        return [.. file, .. directory, .. end];
    }

    /// <summary>Creates a .npy file.</summary>
    public static byte[] Npy(string header, byte[] data, byte version = 1)
    {
        byte[] text = Encoding.UTF8.GetBytes(header + "\n"), length = new byte[version == 1 ? 2 : 4];
        Put(length, 0, length.Length, (uint)text.Length);
        return [0x93, .. "NUMPY"u8, version, 0, .. length, .. text, .. data];
    }

    private static void Put(byte[] bytes, int at, int count, ulong value)
    {
        Span<byte> whole = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(whole, value);
        whole[..count].CopyTo(bytes.AsSpan(at));
    }

    private static byte[] Deflate(byte[] content)
    {
        using var packed = new MemoryStream();
        using (var deflate = new DeflateStream(packed, CompressionLevel.Fastest))
            deflate.Write(content);
        return packed.ToArray();
    }
}
