using System.Text.Json;

namespace FedICU.Cli.Tests;

/// <summary>The golden rounds in shared/golden, beside the checkout, if they are present.</summary>
internal static class Golden
{
    public static readonly string[] Rounds = ["f32", "bf16", "f16-one-client"];

    /// <summary>The folder of the golden rounds; null if they are not here.</summary>
    public static readonly string? Folder = Ancestors.Find(System.IO.Path.Combine("shared", "golden"));

    public static string Path(string round, string file)
    {
        if (Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
        return System.IO.Path.Combine(Folder!, round, file);
    }

    /// <summary>Lists the round's clients as options of the command line.</summary>
    public static IEnumerable<string> Clients(string round)
    {
        string folder = System.IO.Path.GetDirectoryName(Path(round, "global.safetensors"))!;
        return Directory.GetFiles(folder, "client-*.safetensors").SelectMany(path => new[] { "--client", path });
    }

    public static JsonElement Expected(string round) => JsonDocument.Parse(File.ReadAllText(Path(round, "expected.json"))).RootElement;

    /// <summary>
    /// Asserts that a model has the expected file's values, within the bounds of golden/README.md or exactly.
    /// </summary>
    public static void AssertAgrees(string actualPath, string expectedPath, bool exactly = false, double share = 0)
    {
        using TensorSource actual = TensorSource.Open(actualPath), expected = TensorSource.Open(expectedPath);
        Assert.That(
            actual.Tensors.Select(tensor => (tensor.Name, tensor.Shape)),
            Is.EquivalentTo(expected.Tensors.Select(tensor => (tensor.Name, tensor.Shape))));
        foreach (TensorInfo tensor in actual.Tensors)
        {
            if (tensor.DType is not (DType.F64 or DType.F32 or DType.F16 or DType.BF16))
            {
                Assert.That(Place.Data(actual, tensor), Is.EqualTo(Place.Data(expected, expected.Find(tensor.Name)!)), tensor.Name);
                continue;
            }

            double[] found = Values(actual, tensor), wanted = Values(expected, expected.Find(tensor.Name)!);
            double largest = wanted.Max(Math.Abs), exact = (64 * Math.ScaleB(1, -53) + share) * largest;
            (int digits, double least) = tensor.DType switch
            {
                DType.F64 => (53, 0.0),
                DType.F32 => (24, Math.ScaleB(1, -150)),
                DType.F16 => (11, Math.ScaleB(1, -25)),
                _ => (8, Math.ScaleB(1, -134)),
            };
            for (int i = 0; i < found.Length; i++)
            {
                // the expected value is computed in float64, so its own error bound is added to the rounding's
                double rounding = tensor.DType == DType.F64 ? 0 : Math.Max(Math.Abs(wanted[i]) * Math.ScaleB(1, -digits), least);
                double allowed = exactly ? 0 : exact + rounding;
                Assert.That(
                    Math.Abs(found[i] - wanted[i]), Is.LessThanOrEqualTo(allowed),
                    $"{tensor.Name}[{i}] is {found[i]:R}; {wanted[i]:R} was expected");
            }
        }
    }

    // an expected file may have a wider type than the result: F64
    private static double[] Values(TensorSource model, TensorInfo tensor)
    {
        byte[] data = Place.Data(model, tensor);
        int size = tensor.DType.BitSize / 8;
        return [.. Enumerable.Range(0, (int)tensor.ElementCount).Select(i => tensor.DType switch
        {
            DType.F64 => BitConverter.ToDouble(data, i * size),
            DType.F32 => BitConverter.ToSingle(data, i * size),
            DType.F16 => (double)BitConverter.ToHalf(data, i * size),
            _ => BitConverter.Int32BitsToSingle(BitConverter.ToUInt16(data, i * size) << 16),
        })];
    }
}
