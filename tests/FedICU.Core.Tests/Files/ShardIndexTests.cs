using System.Text;
using FedICU.Files;

namespace FedICU.Tests.Files;

/// <summary>Indexes of sharded models are read and written.</summary>
public sealed class ShardIndexTests
{
    [Test]
    public void AnIndexTakesMemoryInProportionToItsSize()
    {
        var text = new StringBuilder("""{"metadata":{"total_size":1,"nested":""");
        text.Append('[', 60).Append('0').Insert(text.Length, ",0", 5_000_000).Append(']', 60);
        text.Append("""},"weight_map":{"a":"m-1.safetensors"}}""");
        byte[] json = Encoding.UTF8.GetBytes(text.ToString());
        text.Clear();
        long before = GC.GetTotalAllocatedBytes(precise: true);
        var index = ShardIndex.Parse(json, "x");
        ReadOnlyMemory<byte> written = ShardIndex.Write(index.WeightMap, index.Metadata, "0123456789ab", 2);
        long allocated = GC.GetTotalAllocatedBytes(precise: true) - before;
        Assert.That(allocated, Is.LessThan(8L * json.Length), $"{json.Length} bytes of JSON");
        var again = ShardIndex.Parse(written.Span, "y");
        Assert.That((again.Generation, written.Length), Is.EqualTo(("0123456789ab", written.Length)));
        Assert.That(written.Length, Is.LessThan(json.Length + 200));
    }

    [Test]
    public void AnIndexKeepsItsMetadataByteForByte()
    {
        const string Json = """{"metadata":{"total_size":1,"f" : 1.50e+1,""" +
            """ "fedicu.generation":"aaaaaaaaaaaa","n":{ "x":[1,  2]},"s":"\u00e4\/"},"weight_map":{"a":"m-1.safetensors"}}""";
        var index = ShardIndex.Parse(Encoding.UTF8.GetBytes(Json), "x");
        Assert.That(index.Generation, Is.EqualTo("aaaaaaaaaaaa"));
        ReadOnlyMemory<byte> text = ShardIndex.Write(index.WeightMap, index.Metadata, "0123456789ab", 2);
        Assert.That(Encoding.UTF8.GetString(text.Span).ReplaceLineEndings("\n"), Does.StartWith("""
            {
              "metadata": {
                "total_size": 2,
                "fedicu.generation": "0123456789ab",
                "f": 1.50e+1,
                "n": { "x":[1,  2]},
                "s": "\u00e4\/"
              },
            """.ReplaceLineEndings("\n")));
        var refusal = Assert.Throws<InvalidModelException>(() => ShardIndex.Parse("""{"metadata":{"fedicu.generation":1}}"""u8, "x"))!;
        Assert.That(refusal.Message, Is.EqualTo("'x' has a number for its fedicu.generation, expected a string."));
    }
}
