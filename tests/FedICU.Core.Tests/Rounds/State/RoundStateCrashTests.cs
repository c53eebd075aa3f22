using System.Diagnostics;
using FedICU.Model;
using FedICU.Tests.Files;

namespace FedICU.Tests.Rounds.State;

/// <summary>
/// A child process runs rounds of FedAdam and is killed between model and state. The rounds after it give the same
/// models as rounds that nobody interrupted.
/// </summary>
internal sealed class RoundStateCrashTests
{
    private const int RoundsInAll = 3;

    [TestCase("writing", 0)]
    [TestCase("sealed", 0)]
    [TestCase("committed", 1)]
    [CancelAfter(120_000)]
    public void AKilledRoundChangesNothingThatFollows(string step, int finished)
    {
        using TempFolder whole = CreateRound(), killed = CreateRound();
        for (int i = 0; i < RoundsInAll; i++)
            RunOne(whole);
        using (Process child = CrashTests.Start("fedadam-until", step, killed.FullName))
        {
            Assert.That(child.StandardOutput.ReadLine(), Is.EqualTo(step));
            child.Kill();
            child.WaitForExit();
        }

        for (int i = finished; i < RoundsInAll; i++)
            RunOne(killed);
        foreach (string file in (string[])["model.safetensors", "state.safetensors"])
            Assert.That(File.ReadAllBytes(killed[file]), Is.EqualTo(File.ReadAllBytes(whole[file])), file);
        Assert.That(killed.Names(), Is.EqualTo(whole.Names()), "nothing is left over");
    }

    [Test]
    public void AFailedRoundLeavesModelAndState()
    {
        using TempFolder folder = CreateRound();
        RunOne(folder);
        byte[] model = File.ReadAllBytes(folder["model.safetensors"]), state = File.ReadAllBytes(folder["state.safetensors"]);
        Write(folder["client-1.safetensors"], 1, float.NaN, 3);
        Assert.That(() => RunOne(folder), Throws.TypeOf<RoundRejectedException>().With.Message.Contains("Client '1'"));
        Assert.That(File.ReadAllBytes(folder["model.safetensors"]), Is.EqualTo(model));
        Assert.That(File.ReadAllBytes(folder["state.safetensors"]), Is.EqualTo(state));
    }

    [Test]
    public void StatesOfAnotherRuleOrModelAreRefused()
    {
        using TempFolder folder = CreateRound();
        RunOne(folder);
        Assert.That(() => RunOne(folder, new StageAggregator(new Median(), new FedAdam())),
            Throws.InstanceOf<FedIcuException>()
                .With.Message.Contains("metadata 'fedicu.state' is 'fedadam'; 'median,fedadam' was expected"));
        Assert.That(() => RunOne(folder, new FedAvgAggregator()),
            Throws.InstanceOf<FedIcuException>().With.Message.EqualTo("'fedavg' keeps no state between rounds, but a state was given."));
        Write(folder["model.safetensors"], 4, 4, 4);
        Assert.That(() => RunOne(folder), Throws.InstanceOf<FedIcuException>().With.Message.Contains("the state belongs to the model"));
    }

    [Test]
    public void AStateThatIsNotFiniteIsNamed()
    {
        using TempFolder folder = CreateRound();
        RunOne(folder);
        using (FileStream state = File.OpenWrite(folder["state.safetensors"]))
        {
            state.Seek(-sizeof(float), SeekOrigin.End);
            state.Write(BitConverter.GetBytes(float.NaN));
        }

        byte[] model = File.ReadAllBytes(folder["model.safetensors"]);
        Assert.That(
            () => RunOne(folder),
            Throws.InstanceOf<FedIcuException>()
                .With.Message.Contains("#v' has 1 value that is NaN or infinite; finite values were expected"));
        Assert.That(File.ReadAllBytes(folder["model.safetensors"]), Is.EqualTo(model));
    }

    private static TempFolder CreateRound()
    {
        var folder = new TempFolder();
        Write(folder["model.safetensors"], 1, 2, 3);
        Write(folder["client-0.safetensors"], 2, 2, 3);
        Write(folder["client-1.safetensors"], 1, 1, 3);
        Write(folder["client-2.safetensors"], 1, 2, 5);
        return folder;
    }

    private static void Write(string path, params float[] values)
    {
        using MemoryModel model = Models.Of("w", [3], values);
        TensorSink sink = TensorSink.ToFile(path);
        sink.Begin(model.Tensors, new Dictionary<string, string>());
        sink.Write(model.Tensors[0], 0, Models.Bytes(model, "w"));
        sink.Commit();
    }

    private static void RunOne(TempFolder folder, StageAggregator? rule = null)
    {
        using TensorSource global = TensorSource.Open(folder["model.safetensors"]);
        var round = new AggregationRound(global) { State = RoundState.InFile(folder["state.safetensors"]) };
        for (int k = 0; k < 3; k++)
            round.Add(ClientUpdate.FromFile($"{k}", folder[$"client-{k}.safetensors"]));
        (rule ?? new FedAdamAggregator()).AggregateAsync(round, TensorSink.ToFile(folder["model.safetensors"])).GetAwaiter().GetResult();
    }
}
