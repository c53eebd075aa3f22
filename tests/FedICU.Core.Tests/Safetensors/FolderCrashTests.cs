using System.Diagnostics;
using System.Globalization;
using static FedICU.Tests.Safetensors.TestModels;

namespace FedICU.Tests.Safetensors;

/// <summary>
/// A process killed at any moment while it writes models of several files, one after the other into the same folder (docs/adr/0004): the folder holds the model
/// last committed or the next, whole, or has lost its marker and does not open. It never opens with files of two models.
/// </summary>
public sealed class FolderCrashTests
{
    private const int Shards = 60;

    [Test]
    [CancelAfter(180_000)]
    public void Kill_leaves_a_whole_model_or_a_folder_without_its_marker([Values("adapter", "adapter-changing", "shards")] string kind)
    {
        using var folder = new TempFolder();
        string marker = folder[kind == "shards" ? "model.safetensors.index.json" : "adapter_config.json"];
        var random = new Random(11);
        int without = 0;
        for (int kill = 0; kill < 12; kill++)
        {
            if (kind == "shards" && !File.Exists(marker))
                PutShards(folder);
            long last = WriteUntilKilled(kind, folder, marker, random, atCommit: kill % 2 == 0);
            if (!File.Exists(marker))
            {
                without++;
                Assert.That(kind, Is.Not.EqualTo("adapter"), "a config that stays the same is never away");
                Assert.Throws<InvalidModelException>(() => TensorSource.Open(folder.FullName).Dispose(), "shards or tensors without their marker are no model");
                continue;
            }

            using TensorSource model = TensorSource.Open(folder.FullName);
            Assert.That(model.Metadata, Does.ContainKey("value"), "all files are of one model");
            byte value = byte.Parse(model.Metadata["value"], CultureInfo.InvariantCulture);
            Assert.That(value, Is.EqualTo(last % 251).Or.EqualTo((last + 1) % 251), "the model last committed or the next");
            foreach (TensorInfo tensor in model.Tensors)
                Assert.That(Data(model, tensor).AsSpan().ContainsAnyExcept(value), Is.False, "bytes of two models");
            if (kind == "adapter-changing")
                Assert.That(((PeftAdapter)model).Config.Rank, Is.EqualTo(value + 1), "tensors and config are of one model");
        }

        TestContext.Out.WriteLine($"{without} of 12 kills left no marker");
    }

    /// <summary>The number of the model that was last said to be committed.</summary>
    private static long WriteUntilKilled(string kind, TempFolder folder, string marker, Random random, bool atCommit)
    {
        using Process child = CrashTests.Start("write-folder-forever", kind, folder.FullName);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("0"));
        if (atCommit)
        {
            // between the removal of the old marker and the renaming of the new one, if it can be hit
            for (var watch = Stopwatch.StartNew(); File.Exists(marker) && watch.ElapsedMilliseconds < 300;)
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
    }

    /// <summary>A model of a tensor in each of many shards, every byte 0.</summary>
    private static void PutShards(TempFolder folder)
    {
        for (int i = 0; i < Shards; i++)
        {
            var tensor = new TensorInfo($"t{i}", DType.U8, new TensorShape(5000));
            Write(new ArrayModel([(tensor, new byte[5000])], new Dictionary<string, string> { ["value"] = "0" }), TensorSink.ToFile(folder[$"m-{i}.safetensors"]));
        }

        string map = string.Join(",", Enumerable.Range(0, Shards).Select(i => $"\"t{i}\":\"m-{i}.safetensors\""));
        File.WriteAllText(folder["model.safetensors.index.json"], $$$"""{"metadata":{"total_size":{{{Shards * 5000}}}},"weight_map":{{{{map}}}}}""");
    }
}
