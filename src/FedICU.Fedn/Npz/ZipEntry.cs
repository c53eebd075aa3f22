namespace FedICU.Fedn.Npz;

/// <summary>An entry of a zip archive, as the archive's directory states it.</summary>
internal sealed record ZipEntry
{
    // the flag of an entry whose sizes and checksum follow its bytes
    private const int DescriptorFlag = 8;

    public required string Name { get; init; }

    /// <summary>The bytes of the name.</summary>
    public required byte[] RawName { get; init; }

    /// <summary>The general purpose flags.</summary>
    public required int Flags { get; init; }

    /// <summary>Whether the bytes are deflated, not stored.</summary>
    public required bool IsDeflated { get; init; }

    /// <summary>The number of bytes in the archive.</summary>
    public required long Packed { get; init; }

    /// <summary>The number of bytes once unpacked.</summary>
    public required long Unpacked { get; init; }

    /// <summary>The CRC-32 of the unpacked bytes.</summary>
    public required uint Crc { get; init; }

    /// <summary>The offset of the entry's local header in the archive.</summary>
    public required long Header { get; init; }

    /// <summary>The offset of the entry's bytes in the archive.</summary>
    public long Start { get; init; }

    /// <summary>Whether the sizes and the checksum follow the bytes, so that the local header may lack them.</summary>
    public bool HasDescriptor => (Flags & DescriptorFlag) != 0;
}
