using System.Diagnostics;
using FedICU.Tests.Files;
using FolderRounds;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using Microsoft.Extensions.Options;

namespace FedICU.Extensions.Tests;

/// <summary>
/// Repeats failed starts and refused rounds many times, and checks that they leak no handles and no memory.
/// </summary>
[NonParallelizable]
internal sealed class LeakTests
{
    // repetitions that are measured; chosen
    private const int Repetitions = 3_000;

    // repetitions before the measurement, until caches and compiled code no longer grow; chosen
    private const int WarmUp = 500;

    // bytes of managed memory that all repetitions together may add; chosen: about 200 bytes for each
    private const int AllowedBytes = 600 << 10;

    // handles that all repetitions together may add; chosen
    private const int AllowedHandles = 20;

    [Test]
    public void FailedStartsLeakNothing()
    {
        (string, string?)[] wrong =
            [("Strategy", "none"), ("Settings:tau", "warm"), ("Threads", "x"), ("Backend", "gpu"), ("Settings:on-shape:x", "1")];
        Measure(i =>
        {
            using ServiceProvider services = new ServiceCollection()
                .AddFedIcu("lora", Rounds.Configuration(("Strategy", "fedicu"), wrong[i % wrong.Length])).BuildServiceProvider();
            try
            {
                services.GetRequiredService<IStartupValidator>().Validate();
                Assert.Fail("a wrong option was accepted");
            }
            catch (OptionsValidationException)
            {
            }
        });
    }

    [Test]
    public void RefusedRoundsLeakNothing()
    {
        using var folder = new TempFolder();
        foreach (string name in (string[])["inbox", "done", "failed"])
            Directory.CreateDirectory(folder[name]);
        Rounds.Model(0).SaveTo(TensorSink.ToFile(folder["global.safetensors"]));
        byte[] global = File.ReadAllBytes(folder["global.safetensors"]);
        using var worker = new FolderWorker(
            new FedAvgAggregator(), new RoundOptions { Quorum = 1 },
            Options.Create(new FolderOptions { Path = folder.FullName, QuietTime = TimeSpan.FromDays(1) }),
            TimeProvider.System, NullLogger<FolderWorker>.Instance);
        var random = new Random(1);
        Measure(i =>
        {
            // by turns: a model with a changed header, a truncated model, random bytes, an empty file
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
            // scanned once before it is ready, so that the worker remembers its files and must forget them
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
        for (int i = 0; i < WarmUp; i++)
            run(i);
        (long Bytes, int Handles) before = Count();
        for (int i = WarmUp; i < WarmUp + Repetitions; i++)
            run(i);
        (long Bytes, int Handles) after = Count();
        TestContext.Out.WriteLine(
            $"{(after.Bytes - before.Bytes) / 1024} KiB and {after.Handles - before.Handles} handles more after {Repetitions}");
        Assert.That(after.Bytes - before.Bytes, Is.LessThan(AllowedBytes));
        Assert.That(after.Handles - before.Handles, Is.LessThan(AllowedHandles));

        // excludes the large object heap, which holds the shared pool's panels: each thread keeps one
        static (long, int) Count()
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
