using System.Diagnostics;
using System.Globalization;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>
/// A child process writes models of several files into the same folder, one after the other. It is killed at any
/// moment, or the folder is read meanwhile (docs/adr/0015). A reader gets the last committed model or the next one as a
/// whole. The next run removes what the killed one left.
/// </summary>
[Parallelizable(ParallelScope.Self)]
public sealed class FolderCrashTests
{
    private const int Shards = 20, Kills = 10;
    private const string Index = "d.safetensors.index.json";

    private static readonly string[] Adapter = ["adapter_config.json", "adapter_model.safetensors"];

    [Test]
    [CancelAfter(600_000)]
    [Platform("Linux", Reason = "two folders change places in one step there")]
    public void AKillLeavesTheOldModelOrTheNew([Values("adapter", "adapter-changing", "shards")] string kind)
    {
        using var parent = new TempFolder();
        string folder = Begin(parent, kind);
        var random = new Random(11);
        for (int kill = 0; kill < Kills; kill++)
        {
            long done = WriteUntilKilled(kind, folder, random, atCommit: kill % 2 == 0);
            byte value = Check(folder, kind);
            Assert.That(value, Is.EqualTo(done % 251).Or.EqualTo((done + 1) % 251), "the model last committed or the next");
        }

        using (TensorSource model = TensorSource.Open(folder))
            model.SaveTo(TensorSink.To(folder, model));
        using TensorSource last = TensorSource.Open(folder);
        string[] written = last is ShardedModel sharded ? [.. sharded.ShardNames, Index] : Adapter;
        Assert.That(
            Directory.GetFileSystemEntries(folder).Select(Path.GetFileName), Is.EquivalentTo(written.Append("README.md")),
            "what killed runs left is gone, and nothing else");
        Assert.That(parent.Names(), Is.EqualTo((string[])["out"]));
    }

    [Test]
    [CancelAfter(600_000)]
    public void AKillLeavesAWholeNewFolderOrNone()
    {
        using var parent = new TempFolder();
        var random = new Random(12);
        for (int kill = 0; kill < Kills; kill++)
        {
            WriteUntilKilled("new", parent.FullName, random, atCommit: false);
            foreach (string folder in Directory.GetDirectories(parent.FullName).Where(path => !Path.GetFileName(path).StartsWith('.')))
            {
                Assert.That(Check(folder, "new"), Is.EqualTo(int.Parse(Path.GetFileName(folder), CultureInfo.InvariantCulture) % 251));
                Directory.Delete(folder, recursive: true);
            }
        }
    }

    [Test]
    [CancelAfter(120_000)]
    [Platform("Linux", Reason = "two folders change places in one step there")]
    public void ReadersGetOneWholeModelWhileItIsReplaced([Values("adapter", "adapter-changing", "shards")] string kind)
    {
        using var parent = new TempFolder();
        string folder = Begin(parent, kind);
        using Process child = CrashTests.Start("write-folder-forever", kind, folder);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("0"));
        Task<string> output = child.StandardOutput.ReadToEndAsync();
        var values = new HashSet<byte>();
        int readings = 0;
        for (var watch = Stopwatch.StartNew(); watch.Elapsed < TimeSpan.FromSeconds(3); readings++)
            values.Add(Check(folder, kind));
        child.Kill();
        child.WaitForExit();
        TestContext.Out.WriteLine($"{readings} readings of {values.Count} models, {output.Result.Count(c => c == '\n')} written");
        Assert.That(values, Has.Count.GreaterThan(2), "the model was replaced while it was read");
    }

    /// <summary>Reads the whole model and returns the value that all its bytes have.</summary>
    private static byte Check(string folder, string kind)
    {
        using TensorSource model = TensorSource.Open(folder);
        Assert.That(model.Metadata, Does.ContainKey("value"), "all files are of one model");
        byte value = byte.Parse(model.Metadata["value"], CultureInfo.InvariantCulture);
        foreach (TensorInfo tensor in model.Tensors)
            Assert.That(Data(model, tensor).AsSpan().ContainsAnyExcept(value), Is.False, "bytes of two models");
        if (kind == "adapter-changing")
            Assert.That(((PeftAdapter)model).Config.Rank, Is.EqualTo(value + 1), "tensors and config are of one model");
        return value;
    }

    /// <summary>Creates a folder with a model and a file of the user.</summary>
    private static string Begin(TempFolder parent, string kind)
    {
        string folder = parent["out"];
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, "README.md"), "mine");
        if (kind == "shards")
            PutShards(folder);
        return folder;
    }

    /// <summary>Returns the number of the model that was last reported as committed.</summary>
    private static long WriteUntilKilled(string kind, string folder, Random random, bool atCommit)
    {
        using Process child = CrashTests.Start("write-folder-forever", kind, folder);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("0"));
        if (atCommit)
        {
            // Tries to hit the moment at which the folder has shards of two generations, or two weight files.
            int files = Directory.GetFiles(folder, "*.safetensors").Length;
            for (var watch = Stopwatch.StartNew(); Count() <= files && watch.ElapsedMilliseconds < 300;)
                Thread.SpinWait(10);
        }
        else
        {
            Thread.Sleep(random.Next(60));
        }

        child.Kill();
        string[] lines = child.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        child.WaitForExit();
        return lines.Length == 0 ? 0 : long.Parse(lines[^1], CultureInfo.InvariantCulture);

        int Count()
        {
            try
            {
                return Directory.GetFiles(folder, "*.safetensors").Length;
            }
            catch (DirectoryNotFoundException)
            {
                return 0;
            }
        }
    }

    /// <summary>
    /// Writes a model with one tensor of zeros in each of many shards, and an index with a non-default name.
    /// </summary>
    private static void PutShards(string folder)
    {
        for (int i = 0; i < Shards; i++)
        {
            var tensor = new TensorInfo($"t{i}", DType.U8, new TensorShape(5000));
            var model = new ArrayModel([(tensor, new byte[5000])], new Dictionary<string, string> { ["value"] = "0" });
            Write(model, TensorSink.ToFile(Path.Combine(folder, $"m-{i}.safetensors")));
        }

        string map = string.Join(",", Enumerable.Range(0, Shards).Select(i => $"\"t{i}\":\"m-{i}.safetensors\""));
        File.WriteAllText(
            Path.Combine(folder, Index), $$$"""{"metadata":{"total_size":{{{Shards * 5000}}}},"weight_map":{{{{map}}}}}""");
    }
}
