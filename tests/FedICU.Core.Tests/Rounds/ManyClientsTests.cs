using System.Globalization;
using System.Runtime.InteropServices;

namespace FedICU.Tests;

/// <summary>
/// Rounds of thousands of clients stay within the limits of handles and memory, and a broken file drops only its
/// client.
/// </summary>
[Platform("Linux")]
internal sealed class ManyClientsTests : FolderFixture
{
    private const int Tensors = 32, Values = 4096, Distinct = 10;

    [SetUp]
    public void SaveModels()
    {
        Save(Folder["global.safetensors"], 0);
        for (int i = 0; i < Distinct; i++)
            Save(Folder[$"{i}.distinct"], i);
    }

    [TestCase("fedavg"), TestCase("fedicu")]
    public void ThreeThousandClientsFitALimitOf256Handles(string strategy)
    {
        string clients = Link(3000);
        string bad = Path.Combine(clients, "c1234.safetensors");
        File.Delete(bad);
        File.WriteAllBytes(bad, File.ReadAllBytes(Folder["0.distinct"])[..^100]);
        Dictionary<string, string> said = Aggregate(strategy, clients, handles: 256);
        Assert.That(said["left out"],
            Does.Match("^Client 'c1234': '.*c1234.safetensors': tensor 't31' has data_offsets .* but the file ends after"));
        Assert.That(int.Parse(said["handles"], CultureInfo.InvariantCulture), Is.LessThan(200),
            "a fourth of the limit, and the runtime's own");
        Assert.That(int.Parse(said["told"], CultureInfo.InvariantCulture), Is.GreaterThanOrEqualTo(Tensors));
        using TensorSource next = TensorSource.Open(Folder["next.safetensors"]);
        float[] values = new float[Values];
        next.Read(next.Find("t9")!, 0, MemoryMarshal.AsBytes(values.AsSpan()));
        // the mean of the values 0 .. 9, 300 of each, without the bad client's 4
        if (strategy == "fedavg")
            Assert.That(values, Is.All.EqualTo((float)((300 * 45.0 - 4) / 2999)));
    }

    [Test]
    public void TwoThousandClientsNeedNoMoreMemoryThanTwoHundred()
    {
        long few = Peak(200), many = Peak(2000);
        TestContext.Out.WriteLine($"peak {few >> 20} MiB for 200 clients, {many >> 20} MiB for 2000");
        // 1800 more clients have 900 MiB more inputs. Only names, the panels' smallest sizes and blocks of closed files
        // may grow
        Assert.That(many - few, Is.LessThan(160 << 20));

        long Peak(int clients) => long.Parse(Aggregate("fedavg", Link(clients), handles: 4096)["peak"], CultureInfo.InvariantCulture);
    }

    private string Link(int clients)
    {
        string folder = Directory.CreateDirectory(Folder[$"clients-{clients}"]).FullName;
        for (int k = 0; k < clients; k++)
            File.CreateSymbolicLink(Path.Combine(folder, $"c{k}.safetensors"), Folder[$"{k % Distinct}.distinct"]);
        return folder;
    }

    private Dictionary<string, string> Aggregate(string strategy, string clients, int handles)
    {
        string child = Path.Combine(AppContext.BaseDirectory, "FedICU.TestChild.dll");
        int exit = Tools.TryRun("/bin/sh",
            ["-c", $"ulimit -n {handles}; exec dotnet \"$@\"", "sh", child, "aggregate-folder", strategy, Folder["next.safetensors"],
            Folder["global.safetensors"], clients], out string output);
        Assert.That(exit, Is.Zero, output);
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line.StartsWith("left out", StringComparison.Ordinal)
            ? ("left out", line["left out ".Length..]) : (line.Split(' ')[0], line.Split(' ')[1]))
            .ToDictionary(said => said.Item1, said => said.Item2);
    }

    private static void Save(string path, float value)
    {
        var model = new MemoryModel();
        for (int t = 0; t < Tensors; t++)
            model.Add($"t{t}", [Values], Enumerable.Repeat(value, Values).ToArray());
        model.SaveTo(TensorSink.ToFile(path));
    }
}
