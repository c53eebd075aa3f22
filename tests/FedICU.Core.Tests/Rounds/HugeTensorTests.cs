using System.Buffers.Binary;
using System.Text;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>
/// A tensor of more than 2^31 elements and 4 GiB, in sparse files with a few islands of values. The test takes half a
/// minute and 5 GB of disk, so it runs only by <c>dotnet test tests/FedICU.Core.Tests -c Release --filter
/// TestCategory=Long</c>.
/// </summary>
[Explicit("takes 5 GB of disk"), Category("Long")]
internal sealed class HugeTensorTests
{
    private const long Rows = 65_537, Columns = 32_769, Elements = Rows * Columns;
    private const int Island = 5_000;

    // around the offsets at which 32-bit counts of elements and bytes overflow, and at both ends
    private static readonly long[] Islands = [0, (1L << 30) - Island / 2, (1L << 31) - Island / 2, Elements - Island];

    [TestCase("fedavg"), TestCase("fedicu")]
    public async Task ValuesAtEveryOffsetAreAggregated(string strategy)
    {
        using var folder = new TempFolder();
        var random = new Random(7);
        ushort[][] values = [.. Islands.Select(_ => Enumerable.Range(0, Island).Select(_ => (ushort)(0x3f00 | random.Next(0x100)))
            .ToArray())];
        foreach (string name in (string[])["global", "a", "b"])
            Save(folder[name + ".safetensors"], values, name == "global");
        using TensorSource global = TensorSource.Open(folder["global.safetensors"]);
        var round = new AggregationRound(global) { ClientUpdate.FromFile("a", folder["a.safetensors"], 1),
            ClientUpdate.FromFile("b", folder["b.safetensors"], 3) };
        await StrategyRegistry.Default.Create(strategy, []).Aggregator.AggregateAsync(round, TensorSink.ToFile(folder["next.safetensors"]));

        // both clients are equal, so every rule returns their values
        using TensorSource next = TensorSource.Open(folder["next.safetensors"]);
        TensorInfo tensor = next.Tensors.Single();
        Assert.That(tensor.ElementCount, Is.EqualTo(Elements).And.GreaterThan(1L << 31));
        byte[] read = new byte[2 * Island];
        for (int i = 0; i < Islands.Length; i++)
        {
            next.Read(tensor, 2 * Islands[i], read);
            Assert.That(Enumerable.Range(0, Island).Select(k => BinaryPrimitives.ReadUInt16LittleEndian(read.AsSpan(2 * k))),
                Is.EqualTo(values[i]), $"island at {Islands[i]}");
        }

        next.Read(tensor, 2 * (Islands[1] + Island), read);
        Assert.That(read, Is.All.Zero);
    }

    private static void Save(string path, ushort[][] values, bool holes)
    {
        byte[] header = Encoding.UTF8.GetBytes(
            $$"""{"w": {"dtype": "BF16", "shape": [{{Rows}},{{Columns}}], "data_offsets": [0,{{2 * Elements}}] } }""");
        using FileStream file = File.Create(path);
        file.Write(BitConverter.GetBytes((long)header.Length));
        file.Write(header);
        long start = file.Position;
        file.SetLength(start + 2 * Elements);
        for (int i = 0; i < values.Length && !holes; i++)
        {
            file.Position = start + 2 * Islands[i];
            file.Write(System.Runtime.InteropServices.MemoryMarshal.AsBytes(values[i].AsSpan()));
        }
    }
}
