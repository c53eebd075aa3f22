using System.Diagnostics;

namespace FedICU.Tests;

/// <summary>
/// A client's file that is truncated during a round: the error names the client for every kind of model, and there is
/// no output.
/// </summary>
internal sealed class BrokenFileTests : FolderFixture
{
    private static readonly MemoryModel Model = new() { { "first", [1000], new float[1000] }, { "second", [1000], new float[1000] } };

    [SetUp]
    public void SaveModels()
    {
        Model.SaveTo(TensorSink.ToFile(Folder["global.safetensors"]));
        Model.SaveTo(TensorSink.ToFile(Folder["fine.safetensors"]));
    }

    [Test]
    public void ATruncatedFileNamesItsClient([Values("file", "adapter", "shards")] string kind, [Values] bool mean)
    {
        (string path, string inner) = Put("bad", kind);
        using TensorSource global = TensorSource.Open(Folder["global.safetensors"]);
        var options = new RoundOptions { Threads = 1, Progress = new Truncating(inner), Quorum = 1 };
        IAggregator aggregator = mean ? new FedAvgAggregator() : new FedIcuAggregator();
        RoundRejectedException refused = Assert.ThrowsAsync<RoundRejectedException>(() => Run(options))!;
        Assert.That(refused.Message,
            Does.StartWith($"Client 'bad': '{inner}' was truncated while it was read: tensor 'second' needs bytes"));
        Assert.That((refused.Fault, refused.ClientId, refused.Tensor), Is.EqualTo((RoundFault.Changed, "bad", "second")));
        Assert.That(refused.InnerException, Is.InstanceOf<InvalidModelException>());
        Assert.That(File.Exists(Folder["next.safetensors"]), Is.False);

        Put("bad", kind);
        RoundReport report = Run(options with { Progress = new Truncating(inner), OnChanged = FaultPolicy.DropClient }).GetAwaiter()
            .GetResult().Report;
        Assert.That(report.Clients.Select(client => (client.Id, client.Included)), Is.EqualTo(new[] { ("bad", false), ("fine", true) }));
        Assert.That(report.Clients[0].Reason, Does.StartWith($"Client 'bad': '{inner}' was truncated"));
        Assert.That(File.Exists(Folder["next.safetensors"]), Is.True);

        Task<AggregationResult> Run(RoundOptions how) => aggregator.AggregateAsync(
            new AggregationRound(global, how) { ClientUpdate.FromFile("fine", Folder["fine.safetensors"], 1),
                ClientUpdate.FromFile("bad", path, 1) },
            TensorSink.ToFile(Folder["next.safetensors"]));
    }

    [Test]
    public void ATruncatedGlobalModelIsNotTheClientsFault()
    {
        string path = Folder["global.safetensors"];
        using TensorSource global = TensorSource.Open(path), kept = TensorSource.Open(Folder["fine.safetensors"]);
        // a delta needs both models; the client's own file is not truncated
        var options = new RoundOptions { Threads = 1, Progress = new Truncating(path) };
        var round = new AggregationRound(global, options) { ClientUpdate.FromTensors("a", kept, 1, UpdateKind.Delta),
            ClientUpdate.FromFile("same", path, 1) };
        Assert.That(async () => await new FedAvgAggregator().AggregateAsync(round, TensorSink.Discard),
            Throws.InstanceOf<InvalidModelException>().With.Message.StartsWith($"'{path}' was truncated while it was read"));
    }

    [Test]
    [CancelAfter(60_000)]
    public void ARoundInAnotherProcessEndsWithASentence([Values("file", "adapter")] string kind)
    {
        (string path, string inner) = Put("bad", kind);
        string output = Folder["next.safetensors"];
        var start = new ProcessStartInfo(
            "dotnet", ["exec", Path.Combine(AppContext.BaseDirectory, "FedICU.TestChild.dll"), "aggregate-while-truncated", output,
                Folder["global.safetensors"], Folder["fine.safetensors"], path])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
        };
        using Process child = Process.Start(start)!;
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo("first"));
        Truncate(inner);
        child.StandardInput.WriteLine();
        string said = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        Assert.That(said, Does.Match(
            $@"^Client '{path}': '{inner}' was truncated while it was read: " +
            @"tensor 'second' needs bytes \d+ to \d+ of the file, which now has \d+\.\s+alive\s+$"));
        Assert.That(child.ExitCode, Is.Zero);
        Assert.That(Folder.Names(), Has.None.Contains("next"), "neither the output nor a temporary of it");
    }

    /// <summary>
    /// Saves the model as one of the kinds. Returns the path of the model and of the file that holds its data.
    /// </summary>
    private (string Path, string Inner) Put(string name, string kind)
    {
        switch (kind)
        {
            case "file":
                string file = Folder[name + ".safetensors"];
                Model.SaveTo(TensorSink.ToFile(file));
                return (file, file);
            case "adapter":
                Model.SaveTo(TensorSink.ToAdapterFolder(Folder[name], PeftAdapterConfig.Parse("""{"peft_type":"LORA","r":1}"""u8, "test")));
                return (Folder[name], Path.Combine(Folder[name], "adapter_model.safetensors"));
            default:
                Directory.CreateDirectory(Folder[name]);
                string shard = Path.Combine(Folder[name], "model-00001-of-00001.safetensors"),
                    index = Path.Combine(Folder[name], "model.safetensors.index.json");
                Model.SaveTo(TensorSink.ToFile(shard));
                File.WriteAllText(index,
                    """{"weight_map":{"first":"model-00001-of-00001.safetensors","second":"model-00001-of-00001.safetensors"}}""");
                return (index, shard);
        }
    }

    private static void Truncate(string path)
    {
        using FileStream stream = new(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite);
        stream.SetLength(stream.Length - 100);
    }

    /// <summary>Truncates a file when the first tensor is done.</summary>
    private sealed class Truncating(string path) : IProgress<RoundProgress>
    {
        public void Report(RoundProgress value)
        {
            if (value is { Phase: "aggregate", Tensor: "first" })
                Truncate(path);
        }
    }
}
