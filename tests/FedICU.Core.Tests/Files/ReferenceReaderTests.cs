using System.Globalization;
using System.Text.Json;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>
/// A separate reader in Python, which shares no code with the library, reads what the library writes.
/// </summary>
public sealed class ReferenceReaderTests
{
    [Test]
    public void AnotherReaderReadsEveryTypeAndUnusualNames()
    {
        var model = new ArrayModel(
            [.. DTypes.Select(dtype => Tensor(dtype.SafetensorsName, dtype, 4, 2)), Tensor("\"\\\n\u00e4\u2028\ud83d\ude00", DType.U8, 3),
                Tensor("none", DType.F32, 0, 3), Tensor("one", DType.I64)],
            new Dictionary<string, string> { ["format"] = "pt", ["\u00e4\"\ud83d\ude00"] = "\0\u001f\u007f\\" });
        JsonElement read = ReadWithPython(model);

        Assert.That(read.GetProperty("metadata").EnumerateObject().ToDictionary(entry => entry.Name, entry => entry.Value.GetString()!),
            Is.EquivalentTo(model.Metadata));
        Assert.That(
            read.GetProperty("tensors").EnumerateArray().Select(tensor => new TensorInfo(
                tensor.GetProperty("name").GetString()!, Parse(tensor.GetProperty("dtype").GetString()!),
                new TensorShape([.. tensor.GetProperty("shape").EnumerateArray().Select(d => d.GetInt64())]))),
            Is.EqualTo(model.Tensors));
        Assert.That(read.GetProperty("digest").GetString(), Is.EqualTo(ModelDigest.Compute(model)));
    }

    [Test]
    public void AnotherReaderReadsTheSameValues()
    {
        var model = new ArrayModel(
        [
            (new TensorInfo("f32", DType.F32, new TensorShape(2)), [.. BitConverter.GetBytes(1.5f), .. BitConverter.GetBytes(-0.25f)]),
            (new TensorInfo("f64", DType.F64, default), BitConverter.GetBytes(Math.PI)),
            (new TensorInfo("f16", DType.F16, new TensorShape(1, 2)),
                [.. BitConverter.GetBytes((Half)0.5), .. BitConverter.GetBytes((Half)2048)]),
            (new TensorInfo("bf16", DType.BF16, new TensorShape(1)), [0x80, 0x3f]),
            (new TensorInfo("i16", DType.I16, new TensorShape(2)), [0xff, 0xff, 0x00, 0x01]),
        ]);
        Dictionary<string, double> sums = ReadWithPython(model).GetProperty("tensors").EnumerateArray()
            .ToDictionary(tensor => tensor.GetProperty("name").GetString()!,
                tensor => double.Parse(tensor.GetProperty("sum").GetString()!, CultureInfo.InvariantCulture));
        Assert.That(sums, Is.EquivalentTo(
            new Dictionary<string, double> { ["f32"] = 1.25, ["f64"] = Math.PI, ["f16"] = 2048.5, ["bf16"] = 1, ["i16"] = 255 }));
    }

    [Test]
    public void TheDigestIsTheSameInPython() =>
        Assert.That(ReadWithPython(ModelDigestTests.Known).GetProperty("digest").GetString(),
            Is.EqualTo(ModelDigest.Compute(ModelDigestTests.Known)));

    private static DType Parse(string name) =>
        DTypeExtensions.TryParseSafetensorsName(name, out DType dtype) ? dtype : throw new AssertionException(name);

    private static JsonElement ReadWithPython(ArrayModel model)
    {
        string python = Tools.PythonWithNumpy();
        using var folder = new TempFolder();
        Write(model, TensorSink.ToFile(folder["m.safetensors"]));
        int exit = Tools.TryRun(python, [Script(), folder["m.safetensors"]], out string output);
        Assert.That(exit, Is.Zero, output);
        return JsonDocument.Parse(output).RootElement;
    }

    private static string Script()
    {
        const string Name = "tests/FedICU.Core.Tests/Files/reference_reader.py";
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string path = Path.Combine(folder.FullName, Name);
            if (File.Exists(path))
                return path;
        }

        throw new FileNotFoundException($"{Name} lies in the sources, above the tests' output", Name);
    }
}
