using System.Text.Json;

namespace FedICU.Cli.Tests;

/// <summary>The golden rounds beside the checkout (shared/golden), where present.</summary>
internal static class Golden
{
    public static readonly string[] Rounds = ["f32", "bf16", "f16-one-client"];

    private static readonly string? Folder = Locate();

    public static string Path(string round, string file)
    {
        if (Folder is null)
            Assert.Ignore("the golden rounds (shared/golden beside the checkout) are not here");
        return System.IO.Path.Combine(Folder!, round, file);
    }

    /// <summary>The round's clients as the command line takes them.</summary>
    public static IEnumerable<string> Clients(string round) =>
        Directory.GetFiles(System.IO.Path.GetDirectoryName(Path(round, "global.safetensors"))!, "client-*.safetensors").SelectMany(path => new[] { "--client", path });

    public static JsonElement Expected(string round) => JsonDocument.Parse(File.ReadAllText(Path(round, "expected.json"))).RootElement;

    /// <summary>The model holds the expected file's values as golden/README.md says; exactly where asked.</summary>
    public static void AssertAgrees(string actualPath, string expectedPath, bool exactly = false)
    {
        using TensorSource actual = TensorSource.Open(actualPath), expected = TensorSource.Open(expectedPath);
        Assert.That(actual.Tensors.Select(tensor => (tensor.Name, tensor.Shape)), Is.EquivalentTo(expected.Tensors.Select(tensor => (tensor.Name, tensor.Shape))));
        foreach (TensorInfo tensor in actual.Tensors)
        {
            double[] found = Values(actual, tensor), wanted = Values(expected, expected.Find(tensor.Name)!);
            double largest = wanted.Max(Math.Abs), exact = 64 * Math.ScaleB(1, -53) * largest;
            (int digits, double least) = tensor.DType switch
            {
                DType.F64 => (53, 0.0),
                DType.F32 => (24, Math.ScaleB(1, -150)),
                DType.F16 => (11, Math.ScaleB(1, -25)),
                _ => (8, Math.ScaleB(1, -134)),
            };
            for (int i = 0; i < found.Length; i++)
            {
                // the expected value is itself a float64 computation's, so its own bound comes on top of the rounding
                double allowed = exactly ? 0 : exact + (tensor.DType == DType.F64 ? 0 : Math.Max(Math.Abs(wanted[i]) * Math.ScaleB(1, -digits), least));
                Assert.That(Math.Abs(found[i] - wanted[i]), Is.LessThanOrEqualTo(allowed), $"{tensor.Name}[{i}]: {found[i]:R} where {wanted[i]:R} was expected");
            }
        }
    }

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

    private static string? Locate()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string golden = System.IO.Path.Combine(folder.FullName, "shared", "golden");
            if (Directory.Exists(golden))
                return golden;
        }

        return null;
    }
}
