using System.Diagnostics;
using FedICU.Files;
using FedICU.Files.Publishing;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files.Publishing;

/// <summary>
/// A child process (FedICU.TestChild, StateRounds) is killed between the steps that publish a model and its state.
/// </summary>
[Parallelizable(ParallelScope.Self)]
public sealed class StateCrashTests
{
    private const string Completed = "was completed: the run before had published its model and was stopped before its state.";
    private const string Removed = "was removed: it does not belong to the global model.";

    [TestCase("half", 1, null)]
    [TestCase("written", 1, null)]
    [TestCase("sealed", 1, Removed)]
    [TestCase("committed", 2, Completed)]
    [TestCase("published", 2, null)]
    [CancelAfter(120_000)]
    public void AKillAtAStepLeavesModelAndStateOfOneRound(string step, long rounds, string? note)
    {
        using var folder = new TempFolder();
        RunOneRound(folder);
        KillAt(step, folder);
        Assert.That(Recover(folder), note is null ? Is.Null : Does.EndWith($"'{folder["state.safetensors"]}' {note}"));
        Assert.That(Recover(folder), Is.Null, "the second recovery has nothing to do");
        Assert.That(CheckedRounds(folder), Is.EqualTo(rounds));

        RunOneRound(folder);
        Assert.That(CheckedRounds(folder), Is.EqualTo(rounds + 1));
        Assert.That(folder.Names(), Is.EqualTo((string[])["model.safetensors", "state.safetensors"]), "nothing is left over");
    }

    [Test]
    [CancelAfter(120_000)]
    public void TheFirstStateIsCompletedWhereNoneWasBefore()
    {
        using var folder = new TempFolder();
        KillAt("committed", folder);
        Assert.That(File.Exists(folder["state.safetensors"]), Is.False);
        Assert.That(Recover(folder), Is.EqualTo($"The state '{folder["state.safetensors"]}' {Completed}"));
        Assert.That(CheckedRounds(folder), Is.EqualTo(1));
    }

    [TestCase("half")]
    [TestCase("sealed")]
    [TestCase("committed")]
    [CancelAfter(120_000)]
    public void AStateThatALiveRunWritesIsLeftAlone(string step)
    {
        using var folder = new TempFolder();
        RunOneRound(folder);
        using Process child = CrashTests.Start("state-rounds-until", step, folder.FullName);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo(step));
        string[] names = folder.Names();
        string sentence = $"'{folder["state.safetensors"]}' is being written by another run; wait until it has ended.";
        if (step != "half")
            Assert.That(Assert.Throws<FedIcuException>(() => Recover(folder))!.Message, Is.EqualTo(sentence));
        var second = new StateFile(folder["state.safetensors"], OutputOptions.Default);
        Assert.That(Assert.Throws<FedIcuException>(() => second.Begin([], NoMetadata))!.Message, Is.EqualTo(sentence));
        Assert.That(folder.Names(), Is.EqualTo(names));
        child.Kill();
        child.WaitForExit();
    }

    [Test]
    [CancelAfter(300_000)]
    public void AKillAtAnyTimeLeavesModelAndStateOfOneRound()
    {
        using var folder = new TempFolder();
        var random = new Random(11);
        long before = 0;
        for (int kill = 0; kill < 10; kill++)
        {
            using (Process child = CrashTests.Start("state-rounds-forever", folder.FullName))
            {
                Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo($"{before + 1}"));
                Thread.Sleep(random.Next(60));
                child.Kill();
                child.WaitForExit();
            }

            Recover(folder);
            long rounds = CheckedRounds(folder);
            Assert.That(rounds, Is.GreaterThan(before));
            before = rounds;
        }
    }

    private static void RunOneRound(TempFolder folder)
    {
        using Process child = CrashTests.Start("state-rounds-until", "the end", folder.FullName);
        child.WaitForExit();
        Assert.That(child.ExitCode, Is.Zero);
    }

    private static void KillAt(string step, TempFolder folder)
    {
        using Process child = CrashTests.Start("state-rounds-until", step, folder.FullName);
        Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo(step));
        child.Kill();
        child.WaitForExit();
    }

    private static string? Recover(TempFolder folder) =>
        PendingState.Recover(folder["state.safetensors"], () => DigestOf(folder["model.safetensors"]), OutputOptions.Default);

    private static string DigestOf(string path)
    {
        using var model = SafetensorsFile.Open(path);
        return ModelDigest.Compute(model);
    }

    /// <summary>Checks that model and state are those of one round, and returns its number.</summary>
    private static long CheckedRounds(TempFolder folder)
    {
        using var model = SafetensorsFile.Open(folder["model.safetensors"]);
        TensorInfo expected = model.Tensors[0] with { Name = "w#m" };
        using ServerState state =
            ServerState.Open(folder["state.safetensors"], "fedadam", [expected], () => ModelDigest.Compute(model), round: null);
        Assert.That(model.Metadata["rounds"], Is.EqualTo($"{state.Rounds}"));
        foreach (TensorSource source in (TensorSource[])[model, state.Source])
        {
            bool isMixed = Data(source, source.Tensors[0]).AsSpan().ContainsAnyExcept((byte)(state.Rounds % 251));
            Assert.That(isMixed, Is.False, "bytes of two rounds");
        }

        return state.Rounds;
    }
}
