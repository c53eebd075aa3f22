using FedICU.Files;
using FedICU.Files.Publishing;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files.Publishing;

public sealed class StateFileTests
{
    private const string Name = "s.safetensors";
    private const string PendingName = ".s.safetensors.fedicu-state";

    private static readonly ArrayModel Model = new([Tensor("a#m", DType.F32, 3), Tensor("b#v", DType.F64)]);
    private static readonly string Base = ModelDigest.Compute(Model);
    private static readonly string OtherBase = ModelDigest.Compute(new ArrayModel([]));

    [Test]
    public void AStateIsWrittenWithItsNumbersAndItsModel()
    {
        using var folder = new TempFolder();
        Publish(folder[Name], rounds: 4, round: 9);
        Assert.That(folder.Names(), Is.EqualTo((string[])[Name]));
        using ServerState state = ServerState.Open(folder[Name], "norm-clip,fedadam", Model.Tensors, () => Base, round: 10);
        Assert.That(state.Rounds, Is.EqualTo(4));
        AssertSame(state.Source, new ArrayModel([.. Model.Tensors.Select(tensor => (tensor, Model.DataOf(tensor.Name)))],
            new Dictionary<string, string>
            {
                ["fedicu.state"] = "norm-clip,fedadam",
                ["rounds"] = "4",
                ["round"] = "9",
                ["fedicu.base"] = Base,
            }));
    }

    [Test]
    public void AnIncompleteStateIsNotSealedAndAnUnsealedOneNotCommitted()
    {
        using var folder = new TempFolder();
        StateFile state = Begin(folder[Name]);
        Assert.Throws<InvalidOperationException>(() => Begin(state));
        Assert.Throws<InvalidOperationException>(state.Commit);
        state.Write(Model.Tensors[0], 0, Model.DataOf("a#m"));
        Assert.That(Assert.Throws<InvalidOperationException>(() => state.Seal(Base))!.Message,
            Is.EqualTo($"'{folder[Name]}': tensor 'b#v' was given 0 bytes, expected 8."));
        state.Abort();
        Assert.That(folder.Names(), Is.Empty);
        Assert.Throws<InvalidOperationException>(state.Commit);
    }

    [Test]
    public void AnAbortedStateKeepsTheOld([Values] bool isSealed)
    {
        using var folder = new TempFolder();
        Publish(folder[Name], rounds: 1);
        byte[] old = File.ReadAllBytes(folder[Name]);
        StateFile state = Begin(folder[Name], rounds: 2);
        if (isSealed)
            WriteAndSeal(state, OtherBase);
        state.Abort();
        Assert.That(File.ReadAllBytes(folder[Name]), Is.EqualTo(old));
        Assert.That(folder.Names(), Is.EqualTo(isSealed ? [PendingName, Name] : (string[])[Name]));
        Publish(folder[Name], rounds: 3);
        Assert.That(folder.Names(), Is.EqualTo((string[])[Name]), "the lock was released, and the next state replaces a pending one");
    }

    [Test]
    public void ASealedStateThatIsAbortedIsPublishedIfItsModelWas()
    {
        using var folder = new TempFolder();
        WriteAndSeal(Begin(folder[Name]), Base, abort: true);
        Assert.That(Recover(folder, Base), Does.Contain("was completed"));
        using ServerState state = ServerState.Open(folder[Name], "norm-clip,fedadam", Model.Tensors, () => Base, round: null);
        Assert.That(state.Rounds, Is.EqualTo(1));
    }

    [Test]
    public void OtherOutputsLeaveAPendingStateAlone()
    {
        using var folder = new TempFolder();
        WriteAndSeal(Begin(folder[Name]), Base, abort: true);
        Write(Model, TensorSink.ToFile(folder["m.safetensors"]));
        Write(Model, TensorSink.ToFile(folder[Name]));
        Write(Model, TensorSink.ToAdapterFolder(folder.FullName, PeftAdapterConfig.Parse("""{"r": 8}"""u8.ToArray(), "memory")));
        Assert.That(folder.Names(), Does.Contain(PendingName));
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "links need a privilege there")]
    public void ALinkIsReplacedOrFollowedAsRequested([Values] bool follow)
    {
        using TempFolder folder = new(), store = new();
        File.CreateSymbolicLink(folder[Name], store.Put("target", [1]));
        var options = new OutputOptions { FollowLinks = follow };
        var state = new StateFile(folder[Name], options);
        WriteAndSeal(Begin(state), Base, abort: true);
        Assert.That((follow ? store : folder).Names(), Does.Contain(follow ? ".target.fedicu-state" : PendingName));
        Assert.That(PendingState.Recover(folder[Name], () => Base, options), Does.Contain("was completed"));
        Assert.That(new FileInfo(folder[Name]).LinkTarget, follow ? Is.Not.Null : Is.Null);
        Assert.That(new FileInfo(store["target"]).Length, follow ? Is.GreaterThan(1) : Is.EqualTo(1));
        ServerState.Open(folder[Name], "norm-clip,fedadam", Model.Tensors, () => Base, round: null).Dispose();
    }

    [Test]
    public void NothingPendingCostsNoDigest()
    {
        using var folder = new TempFolder();
        Assert.That(PendingState.Recover(folder[Name], () => throw new InvalidOperationException(), OutputOptions.Default), Is.Null);
        Assert.That(PendingState.Recover(folder["none/s"], () => throw new InvalidOperationException(), OutputOptions.Default), Is.Null);
    }

    [Test]
    public void ATruncatedOrUnsealedPendingStateIsRemoved([Values] bool isTruncated)
    {
        using var folder = new TempFolder();
        WriteAndSeal(Begin(folder[Name]), isTruncated ? Base : ModelDigest.Unknown, abort: true);
        byte[] bytes = File.ReadAllBytes(folder[PendingName]);
        if (isTruncated)
            folder.Put(PendingName, bytes.AsSpan(0, bytes.Length - 1));
        Assert.That(Recover(folder, Base),
            Is.EqualTo($"A state that a stopped run left beside '{folder[Name]}' was removed: it was incomplete."));
        Assert.That(folder.Names(), Is.Empty);
    }

    [TestCase("text")]
    [TestCase("model")]
    [TestCase("empty")]
    [TestCase("folder")]
    [TestCase("link")]
    public void AForeignFileOfThatNameIsRefused(string kind)
    {
        using TempFolder folder = new(), store = new();
        Publish(store[Name]);
        if (kind == "folder")
            Directory.CreateDirectory(folder[PendingName]);
        else if (kind == "link")
            File.CreateSymbolicLink(folder[PendingName], store[Name]);
        else if (kind == "model")
            Write(Model, TensorSink.ToFile(folder[PendingName]));
        else
            folder.Put(PendingName, kind == "empty" ? [] : "my notes"u8);
        string sentence =
            $"'{folder[PendingName]}' is no state, but has the name of a pending one of '{folder[Name]}': remove or rename it.";
        Assert.That(Assert.Throws<FedIcuException>(() => Recover(folder, Base))!.Message, Is.EqualTo(sentence));
        Assert.That(Assert.Throws<FedIcuException>(() => Begin(folder[Name]))!.Message, Is.EqualTo(sentence));
        Assert.That(folder.Names(), Is.EqualTo((string[])[PendingName]));
    }

    [Test]
    public void APlaceThatCannotBeWrittenIsRefused()
    {
        using var folder = new TempFolder();
        Assert.That(Assert.Throws<FedIcuException>(() => Begin(folder.FullName))!.Message,
            Is.EqualTo($"'{folder.FullName}' is a folder, expected a file."));
        Assert.That(Assert.Throws<FedIcuException>(() => Begin(folder["none/s"]))!.Message,
            Is.EqualTo($"'{folder["none/s"]}' cannot be written: the folder '{folder["none"]}' does not exist."));
    }

    internal static void Publish(string path, long rounds = 1, long? round = null)
    {
        StateFile state = Begin(path, rounds, round);
        WriteAndSeal(state, Base);
        state.Commit();
    }

    private static string? Recover(TempFolder folder, string digest) =>
        PendingState.Recover(folder[Name], () => digest, OutputOptions.Default);

    private static StateFile Begin(string path, long rounds = 1, long? round = null) =>
        Begin(new StateFile(path, OutputOptions.Default), rounds, round);

    private static StateFile Begin(StateFile state, long rounds = 1, long? round = null)
    {
        state.Begin(Model.Tensors, ServerState.Describe("norm-clip,fedadam", rounds, round));
        return state;
    }

    private static void WriteAndSeal(StateFile state, string digest, bool abort = false)
    {
        foreach (TensorInfo tensor in Model.Tensors)
            state.Write(tensor, 0, Model.DataOf(tensor.Name));
        state.Seal(digest);
        if (abort)
            state.Abort();
    }
}
