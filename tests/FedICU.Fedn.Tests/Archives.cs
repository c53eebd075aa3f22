using System.Buffers.Binary;
using System.IO.Compression;
using System.Runtime.InteropServices;
using System.Text;
using FedICU.Fedn.Npz;

namespace FedICU.Fedn.Tests;

/// <summary>Makes npz archives, valid and invalid.</summary>
internal static class Archives
{
    /// <summary>Makes an archive of the given entries, deflated like numpy.savez_compressed.</summary>
    public static byte[] Zip(params ReadOnlySpan<(string Name, byte[] Bytes)> entries)
    {
        using var memory = new MemoryStream();
        using (var archive = new ZipArchive(memory, ZipArchiveMode.Create, leaveOpen: true))
        {
            foreach ((string name, byte[] bytes) in entries)
            {
                ZipArchiveEntry entry = archive.CreateEntry(name);
                // a fixed date, so that equal models make equal archives
                entry.LastWriteTime = new DateTimeOffset(2026, 1, 1, 0, 0, 0, TimeSpan.Zero);
                using Stream stream = entry.Open();
                stream.Write(bytes);
            }
        }

        return memory.ToArray();
    }

    /// <summary>Makes a .npy file of the given header and bytes.</summary>
    public static byte[] Npy(string header, ReadOnlySpan<byte> data, byte version = 1)
    {
        byte[] text = Encoding.UTF8.GetBytes(header + "\n");
        byte[] length = new byte[version == 1 ? 2 : 4];
        if (version == 1)
            BinaryPrimitives.WriteUInt16LittleEndian(length, (ushort)text.Length);
        else
            BinaryPrimitives.WriteInt32LittleEndian(length, text.Length);
        return [0x93, .. "NUMPY"u8, version, 0, .. length, .. text, .. data];
    }

    /// <summary>Makes an archive with one array, whose header and number of bytes may contradict each other.</summary>
    public static byte[] OneArray(string type = "'<f4'", string order = "False", string shape = "(2,)", byte version = 1, int bytes = 8) =>
        Zip(("0.npy", Npy($"{{'descr': {type}, 'fortran_order': {order}, 'shape': {shape}, }}", new byte[bytes], version)));

    /// <summary>Makes an archive of a model.</summary>
    public static byte[] Of(TensorSource model)
    {
        var entries = new List<(string, byte[])>();
        foreach (TensorInfo tensor in model.Tensors)
            entries.Add((tensor.Name + ".npy", [.. NpyHeader.Write(tensor), .. Bytes(model, tensor)]));
        return Zip(CollectionsMarshal.AsSpan(entries));
    }

    /// <summary>Reads an archive with .NET's own zip reader.</summary>
    public static List<(string Name, byte[] Bytes)> Read(byte[] archive)
    {
        using var zip = new ZipArchive(new MemoryStream(archive));
        var entries = new List<(string, byte[])>();
        foreach (ZipArchiveEntry entry in zip.Entries)
        {
            using Stream stream = entry.Open();
            using var bytes = new MemoryStream();
            stream.CopyTo(bytes);
            entries.Add((entry.FullName, bytes.ToArray()));
        }

        return entries;
    }

    /// <summary>Reads a tensor.</summary>
    public static byte[] Bytes(TensorSource model, TensorInfo tensor)
    {
        byte[] bytes = new byte[tensor.ByteLength];
        model.Read(tensor, 0, bytes);
        return bytes;
    }

    /// <summary>
    /// Makes a model of several types and shapes, with FEDn's names. It has more than ten tensors, so that the order of
    /// the names is not the order of the numbers.
    /// </summary>
    public static MemoryModel Model(int seed)
    {
        var random = new Random(seed);
        float[] Floats(int count) => [.. Enumerable.Range(0, count).Select(_ => (float)(random.NextDouble() - 0.5))];
        var model = new MemoryModel
        {
            { "0", [24, 40], Floats(960) },
            { "1", [33], Floats(33) },
            { "2", [], Floats(1) },
            { "3", [6, 3, 5], Floats(90).Select(value => (double)value).ToArray() },
            { "4", [65, 17], Floats(1105).Select(value => (Half)value).ToArray() },
            { "5", [4], new long[] { seed, -seed, 1L << 60, 7 } },
            { "6", [0, 3], Floats(0) },
            { "7", [3], new int[] { seed, 2, 3 } },
        };
        for (int i = 8; i < 12; i++)
            model.Add(i.ToString(System.Globalization.CultureInfo.InvariantCulture), [5, 7], Floats(35));
        return model;
    }
}
