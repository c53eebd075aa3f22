using System.Diagnostics;
using FedICU.Tests.Files;
using FolderRounds;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>Many wrong starts and inputs leave no handle and no memory behind.</summary>
[NonParallelizable]
internal sealed class LeakTests
{
    private const int Many = 10_000, Warm = 500;

    [Test]
    public void WrongStartsLeakNothing()
    {
        (string, string?)[] wrong = [("Strategy", "none"), ("Settings:tau", "warm"), ("Threads", "x"), ("Backend", "gpu"), ("Settings:on-shape:x", "1")];
        Measure(i =>
        {
            using ServiceProvider services = new ServiceCollection()
                .AddFedIcu("lora", Rounds.Configuration(("Strategy", "fedicu"), wrong[i % wrong.Length])).BuildServiceProvider();
            try
            {
                services.GetRequiredService<IStartupValidator>().Validate();
                Assert.Fail("a wrong option was taken");
            }
            catch (OptionsValidationException)
            {
            }
        });
    }

    [Test]
    public void WrongRoundsLeakNothing()
    {
        using var folder = new TempFolder();
        foreach (string name in (string[])["inbox", "done", "failed"])
            Directory.CreateDirectory(folder[name]);
        Rounds.Model(0).SaveTo(TensorSink.ToFile(folder["global.safetensors"]));
        byte[] global = File.ReadAllBytes(folder["global.safetensors"]);
        using var worker = new FolderWorker(new FedAvgAggregator(), new RoundOptions { Quorum = 1 }, Options.Create(new FolderOptions { Path = folder.FullName, QuietTime = TimeSpan.FromDays(1) }),
            TimeProvider.System, NullLogger<FolderWorker>.Instance);
        var random = new Random(1);
        Measure(i =>
        {
            // a model with bytes changed in its header, one cut short, noise, nothing
            byte[] bytes = [.. global];
            if (i % 4 == 0)
                bytes[random.Next(9, 60)] ^= 0x1f;
            else if (i % 4 == 1)
                bytes = bytes[..random.Next(bytes.Length)];
            else if (i % 4 == 2)
                random.NextBytes(bytes);
            else
                bytes = [];
            string round = folder[$"inbox/{i}"];
            Directory.CreateDirectory(round);
            File.WriteAllBytes(Path.Combine(round, "a.safetensors"), bytes);
            // looked at once before it is ready: what is remembered of it must go too
            if (i % 8 == 0)
                worker.ScanAsync(default).GetAwaiter().GetResult();
            File.WriteAllBytes(Path.Combine(round, "ready"), []);
            worker.ScanAsync(default).GetAwaiter().GetResult();
            string sentence = File.ReadAllText(folder[$"failed/{i}/refusal.txt"]);
            Assert.That(sentence, Does.StartWith("Client 'a'"));
            Directory.Delete(folder[$"failed/{i}"], recursive: true);
        });
        Assert.That(File.ReadAllBytes(folder["global.safetensors"]), Is.EqualTo(global));
    }

    private static void Measure(Action<int> run)
    {
        for (int i = 0; i < Warm; i++)
            run(i);
        (long Bytes, int Handles) before = Now();
        for (int i = Warm; i < Warm + Many; i++)
            run(i);
        (long Bytes, int Handles) after = Now();
        TestContext.Out.WriteLine($"{(after.Bytes - before.Bytes) / 1024} KiB and {after.Handles - before.Handles} handles more after {Many}");
        Assert.That(after.Bytes - before.Bytes, Is.LessThan(1 << 20));
        Assert.That(after.Handles - before.Handles, Is.LessThan(20));

        // without large objects: those are the shared pool's panels, which each thread keeps one of
        static (long, int) Now()
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
            GC.Collect();
            long bytes = 0;
            foreach (GCGenerationInfo generation in GC.GetGCMemoryInfo(GCKind.FullBlocking).GenerationInfo[..3])
                bytes += generation.SizeAfterBytes - generation.FragmentationAfterBytes;
            using var process = Process.GetCurrentProcess();
            return (bytes, process.HandleCount);
        }
    }
}
