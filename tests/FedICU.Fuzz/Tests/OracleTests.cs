using System.Text;
using FedICU.Fuzz.Generation;
using FedICU.Fuzz.Oracle;
using FedICU.Tests;

namespace FedICU.Fuzz.Tests;

/// <summary>
/// Tests that the oracle accepts files of other writers, and names the rule that an invalid file breaks.
/// </summary>
internal sealed class OracleTests
{
    private const string Tensor = """{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}""";

    [Test]
    public void TheGoldenFilesAreAccepted()
    {
        string[] files = [.. Directory.EnumerateFiles(Golden.RoundFolder("."), "*.safetensors", SearchOption.AllDirectories).Where(file =>
            new FileInfo(file).Length < 1 << 26)];
        Assert.That(files, Is.Not.Empty);
        foreach (string file in files)
        {
            byte[] bytes = File.ReadAllBytes(file);
            Verdict verdict = SafetensorsOracle.Judge(bytes);
            Assert.That(verdict.Accepts, $"{file}: {verdict.Refusal ?? verdict.Stricter}");
            using SafetensorsFile model = SafetensorsFile.Open(file);
            Assert.That(SafetensorsOracle.Digest(bytes, verdict), Is.EqualTo(ModelDigest.Compute(model)), file);
        }
    }

    [TestCase("{}", 0)]
    [TestCase(Tensor, 16)]
    [TestCase(Tensor + "   ", 16)]
    [TestCase("""{"__metadata__":{"k":"\ud83d\ude00\n"},"a":{"shape":[],"data_offsets":[0,1],"\u0064type":"U8"}}""", 1)]
    [TestCase("""{"b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]},"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}""", 2)]
    [TestCase("""{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"e":{"dtype":"F64","shape":[0],"data_offsets":[0,0]}}""", 1)]
    public void AValidHeaderIsAccepted(string header, int dataLength) => Assert.That(Judge(header, dataLength), Is.Null);

    [TestCase("[]", 0, "brace")]
    [TestCase(" {}", 0, "brace")]
    [TestCase("{}\n", 0, "JSON")]
    [TestCase("{},", 0, "JSON")]
    [TestCase("{\"a\":01}", 0, "JSON")]
    [TestCase("{\"a\":\"\\ud800\"}", 0, "JSON")]
    [TestCase("""{"__metadata__":null}""", 0, "__metadata__")]
    [TestCase("""{"__metadata__":{"a":1}}""", 0, "__metadata__")]
    [TestCase("""{"__metadata__":{"a":"1","a":"2"}}""", 0, "once")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2,2]}}""", 16, "data_offsets")]
    [TestCase("""{"a":{"dtype":"f32","shape":[2,2],"data_offsets":[0,16]}}""", 16, "dtype")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2.0,2],"data_offsets":[0,16]}}""", 16, "whole numbers")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-2,-2],"data_offsets":[0,16]}}""", 16, "whole numbers")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[16,0]}}""", 16, "ascending")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2,2],"data_offsets":[0,12]}}""", 12, "bytes that the offsets give")]
    [TestCase("""{"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}}""", 1, "bytes that the offsets give")]
    [TestCase("""{"a":{"dtype":"F32","shape":[18446744073709551616,4],"data_offsets":[0,16]}}""", 16, "bytes that the offsets give")]
    [TestCase("""{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}""", 3,
        "overlap or hole")]
    [TestCase("""{"a":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}""", 3, "overlap or hole")]
    [TestCase(Tensor, 17, "end with the file")]
    [TestCase(Tensor, 15, "end with the file")]
    [TestCase("""{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"\u0061":{"dtype":"U8","shape":[],"data_offsets":[1,2]}}""", 2,
        "once")]
    [TestCase("""{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1],"more":1}}""", 1, "no fields but")]
    [TestCase("""{"a":{"dtype":"U8","shape":[0,9223372036854775808],"data_offsets":[0,0]}}""", 0, "product below")]
    public void AnInvalidHeaderIsRefusedForItsRule(string header, int dataLength, string rule) =>
        Assert.That(Judge(header, dataLength), Does.Contain(rule));

    [Test]
    public void MoreThan64DimensionsExceedTheLibrarysLimit()
    {
        string Header(int rank) =>
            """{"a":{"dtype":"U8","shape":[SHAPE],"data_offsets":[0,1]}}""".Replace("SHAPE", string.Join(',', Enumerable.Repeat(1, rank)));
        Assert.That(Judge(Header(64), 1), Is.Null);
        Assert.That(Judge(Header(65), 1), Does.Contain("64 dimensions"));
    }

    [TestCase("", ExpectedResult = "8 bytes")]
    [TestCase("0000000000000000", ExpectedResult = "brace")]
    [TestCase("05000000000000007b7d", ExpectedResult = "holds the header")]
    [TestCase("ffffffffffffffff7b7d", ExpectedResult = "100 MB")]
    [TestCase("03000000000000007bff7d", ExpectedResult = "JSON")]
    public string? BytesThatAreNoHeaderAreRefused(string hex)
    {
        string? refusal = SafetensorsOracle.Judge(Convert.FromHexString(hex)).Refusal;
        return ((string[])["8 bytes", "brace", "holds the header", "100 MB", "JSON"]).FirstOrDefault(words =>
            refusal!.Contains(words, StringComparison.Ordinal));
    }

    [TestCase("1", true)]
    [TestCase("-0.5e+3", true)]
    [TestCase("\"\\u00e9\\\"\\/\"", true)]
    [TestCase("[ 1 , {\"a\" : null} ]", true)]
    [TestCase("01", false)]
    [TestCase("1.", false)]
    [TestCase(".5", false)]
    [TestCase("1e", false)]
    [TestCase("+1", false)]
    [TestCase("NaN", false)]
    [TestCase("True", false)]
    [TestCase("[1,]", false)]
    [TestCase("{\"a\":1,}", false)]
    [TestCase("{a:1}", false)]
    [TestCase("\"a\nb\"", false)]
    [TestCase("\"\\x\"", false)]
    [TestCase("\"\\u12\"", false)]
    [TestCase("\"", false)]
    [TestCase("[", false)]
    [TestCase("", false)]
    public void JsonIsReadByTheStandard(string text, bool isValid) =>
        Assert.That(StrictJson.Parse(Encoding.UTF8.GetBytes(text), trailing: "") is not null, Is.EqualTo(isValid));

    private static string? Judge(string header, int dataLength)
    {
        Verdict verdict = SafetensorsOracle.Judge(ModelDraft.File(Encoding.UTF8.GetBytes(header), new byte[dataLength]));
        return verdict.Refusal ?? verdict.Stricter;
    }
}
