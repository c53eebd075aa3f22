using System.Diagnostics;
using System.Globalization;
using System.Text;
using FedICU.Compute.Simd;
using FedICU.Files;

namespace FedICU.Tests.Files;

/// <summary>
/// Mutated and huge headers. Parsing one gives a message or a model, quickly, and allocates a small multiple of its
/// length.
/// </summary>
public sealed class HostileHeaderTests
{
    // Bytes that parsing a header may allocate: for the exception and its message, plus a multiple of the file's
    // length.
    private const int FixedBytes = 32 << 10;
    private const int PerByte = 32;

    private static readonly (string Header, int DataLength)[] Seeds =
    [
        ("{}", 0),
        ("""{"__metadata__":{"format":"pt","num_examples":"12"}}   """, 0),
        ("""{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}""", 16),
        (
            """{"__metadata__":{"k":"\ud83d\ude00"},"w.A":{"dtype":"BF16","shape":[3,2],"data_offsets":[0,12]},"w.B":""" +
            """{"dtype":"F16","shape":[2],"data_offsets":[12,16]}}""",
            16),
        (
            """{"z":{"dtype":"U8","shape":[0],"data_offsets":[4,4]},"y":{"dtype":"F4","shape":[4],"data_offsets":""" +
            """[14,16]},"x":{"dtype":"I64","shape":[],"data_offsets":[4,12]},"e":{"dtype":"F8_E4M3","shape":[2,1],"data_offsets":""" +
            """[12,14]},"b":{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]}}""",
            16),
    ];

    private static readonly string[] Pieces =
    [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\ud800", "\\udc00", "null", "true", "-", "0", "1", "9223372036854775807",
            "18446744073709551615", "1e9", ".5", "NaN", "//", "/*", " ", "\n", "\0",
        "\"__metadata__\":{}", "\"dtype\":\"F64\"", "\"shape\":[", "\"data_offsets\":[0,0]", "[[[[[[[[[[", "{\"a\":{\"a\":{\"a\":",
            "\u00e9", "\u4e2d", "F32", "F4", "16", "[0,16]", "\"a\":",
    ];

    [Test]
    public void AHundredThousandMutatedHeadersGiveAMessageOrAWholeModel()
    {
        var random = new Random(20240607);
        (byte[] Header, int DataLength)[] seeds = [.. Seeds.Select(seed => (Encoding.UTF8.GetBytes(seed.Header), seed.DataLength))];
        byte[][] pieces = [.. Pieces.Select(Encoding.UTF8.GetBytes)];
        int accepted = 0;
        var watch = Stopwatch.StartNew();
        for (int i = 0; i < 100_000; i++)
        {
            var (seed, length) = seeds[random.Next(seeds.Length)];
            byte[] header = Mutate(seed, pieces, random);
            long dataLength = random.Next(8) == 0 ? random.NextInt64(40) : length;
            long before = GC.GetAllocatedBytesForCurrentThread();
            try
            {
                AssertWhole(SafetensorsHeader.Parse(header, dataLength, "x"), dataLength);
                accepted++;
            }
            catch (InvalidModelException e)
            {
                if (!e.Message.StartsWith("'x'", StringComparison.Ordinal) || !e.Message.EndsWith('.') || e.Message.Length > 1000)
                    Assert.Fail($"{e.Message} for {Encoding.UTF8.GetString(header)}");
            }
            catch (Exception e) when (e is not AssertionException)
            {
                Assert.Fail($"{e} for {Encoding.UTF8.GetString(header)}");
            }

            long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
            if (allocated > FixedBytes + PerByte * (header.Length + dataLength))
                Assert.Fail($"{allocated} bytes for {Encoding.UTF8.GetString(header)}");
        }

        TestContext.Out.WriteLine($"{accepted} accepted, {watch.ElapsedMilliseconds} ms");
        Assert.That(accepted, Is.GreaterThan(1000), "some mutations must leave a model whole, or nothing but the first check is tested");
    }

    [Test]
    public void MutatedIndexesAndAdapterConfigurationsGiveAMessageOrAreUnderstood()
    {
        var random = new Random(20240608);
        byte[] index = Encoding.UTF8.GetBytes(
            """{"metadata":{"total_size":12,"a":["\u00e4",null]},"weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"}}""");
        byte[] config = Encoding.UTF8.GetBytes(
            """{"peft_type":"LORA","r":16,"lora_alpha":32.5,"use_dora":false,"target_modules":""" +
            """["a","b"],"rank_pattern":{"a":8},"alpha_pattern":{"a":1.5},"modules_to_save":null}""");
        byte[][] pieces = [.. Pieces.Select(Encoding.UTF8.GetBytes)];
        int accepted = 0;
        for (int i = 0; i < 20_000; i++)
        {
            foreach (byte[] seed in (byte[][])[index, config])
            {
                byte[] json = Mutate(seed, pieces, random);
                try
                {
                    if (seed == index)
                    {
                        var parsed = ShardIndex.Parse(json, "x");
                        _ = ShardIndex.Write(parsed.WeightMap, parsed.Metadata, "0123456789ab", 12);
                    }
                    else
                    {
                        Assert.That(PeftAdapterConfig.Parse(json, "x").DescribeDisagreement(PeftAdapterConfig.Parse(json, "x")), Is.Null);
                    }

                    accepted++;
                }
                catch (InvalidModelException e)
                {
                    if (!e.Message.StartsWith("'x'", StringComparison.Ordinal) || !e.Message.EndsWith('.') || e.Message.Length > 1000)
                        Assert.Fail($"{e.Message} for {Encoding.UTF8.GetString(json)}");
                }
                catch (Exception e) when (e is not AssertionException)
                {
                    Assert.Fail($"{e} for {Encoding.UTF8.GetString(json)}");
                }
            }
        }

        Assert.That(accepted, Is.GreaterThan(1000));
    }

    [Test]
    public void AMillionSmallTensorsAreReadInSeconds()
    {
        var header = new StringBuilder("{");
        for (int i = 0; i < 1_000_000; i++)
        {
            int start = 999_999 - i;
            header.Append(i == 0 ? "" : ",");
            header.Append(
                CultureInfo.InvariantCulture, $"\"{i}\":{{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[{start},{start + 1}]}}");
        }

        byte[] bytes = Encoding.UTF8.GetBytes(header.Append('}').ToString());
        AssertCheap(bytes, 1_000_000, null);
    }

    [TestCase("deep arrays")]
    [TestCase("deep objects")]
    [TestCase("long name")]
    [TestCase("long shape")]
    [TestCase("long number")]
    [TestCase("metadata")]
    [TestCase("unknown fields")]
    [TestCase("spaces")]
    [TestCase("same offsets")]
    public void TenMegabytesAreRejectedCheaply(string kind)
    {
        const int Length = 10_000_000;
        var (header, sentence) = kind switch
        {
            "deep arrays" => ("{\"a\":" + new string('[', Length), "tensor 'a' is an array"),
            "deep objects" => (string.Concat(Enumerable.Repeat("{\"a\":", Length / 5)), "tensor 'a' has the unknown field 'a'"),
            "long name" => ("{\"" + new string('n', Length) + "\":1}", "is 1, expected an object"),
            "long shape" =>
                ("{\"a\":{\"shape\":[" + string.Concat(Enumerable.Repeat("0,", Length / 2)) + "0]}}", "has more than 64 dimensions"),
            "long number" => ("{\"a\":{\"shape\":[" + new string('1', Length) + "]}}", "has a number of 10000000 characters in its shape"),
            "metadata" => ("{\"__metadata__\":{" + string.Join(',', Enumerable.Range(0, Length / 12).Select(i => $"\"{i:x5}\":\"\"")) +
                "},\"a\":1}", "tensor 'a' is 1"),
            "unknown fields" => ("{\"a\":{" + string.Join(',', Enumerable.Range(0, Length / 10).Select(i => $"\"{i:x5}\":0")) + "}}",
                "has the unknown field '00000'"),
            "spaces" => ("{}" + new string(' ', Length) + "x", "expected nothing but spaces"),
            _ => ("{" + string.Join(',', Enumerable.Range(0, Length / 55).Select(SameOffsets)) + "}", "overlaps tensor '00000'"),
        };
        AssertCheap(Encoding.UTF8.GetBytes(header), 16, sentence);

        static string SameOffsets(int i) => $"\"{i:x5}\":{{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}";
    }

    private static void AssertCheap(byte[] header, long dataLength, string? sentence)
    {
        string? message = null;
        long before = GC.GetAllocatedBytesForCurrentThread();
        var watch = Stopwatch.StartNew();
        try
        {
            SafetensorsHeader.Parse(header, dataLength, "x");
        }
        catch (InvalidModelException e)
        {
            message = e.Message;
        }

        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        TestContext.Out.WriteLine($"{header.Length} bytes: {watch.ElapsedMilliseconds} ms, {allocated} bytes allocated");
        Assert.Multiple(() =>
        {
            Assert.That(message, sentence is null ? Is.Null : Does.Contain(sentence));
            Assert.That(allocated, Is.LessThanOrEqualTo(FixedBytes + PerByte * (header.Length + dataLength)));
            Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(30)), "a quadratic step would take hours");
        });
    }

    private static byte[] Mutate(byte[] seed, byte[][] pieces, Random random)
    {
        List<byte> header = [.. seed];
        for (int n = random.Next(2) * random.Next(5) + 1; n > 0; n--)
        {
            int at = random.Next(header.Count + 1);
            int length = random.Next(1, 12);
            switch (random.Next(7))
            {
                case 0:
                    header.Insert(at, (byte)random.Next(256));
                    break;
                case 1 when at < header.Count:
                    header[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2 when at < header.Count:
                    header[at] = (byte)('0' + random.Next(10));
                    break;
                case 3:
                    header.RemoveRange(at, Math.Min(length, header.Count - at));
                    break;
                case 4:
                    header.InsertRange(at, pieces[random.Next(pieces.Length)]);
                    break;
                case 5:
                    header.InsertRange(at, header.GetRange(at, Math.Min(length * 5, header.Count - at)));
                    break;
                default:
                    int from = random.Next(header.Count + 1);
                    header.InsertRange(at, header.GetRange(from, Math.Min(length, header.Count - from)));
                    break;
            }
        }

        return [.. header];
    }

    private static void AssertWhole(SafetensorsHeader header, long dataLength)
    {
        long end = 0;
        foreach (TensorInfo tensor in header.Tensors)
        {
            var (start, length) = header.Locate(tensor);
            Assert.That(start, Is.EqualTo(end));
            end = start + length;
        }

        Assert.That(end, Is.EqualTo(dataLength));
    }
}
