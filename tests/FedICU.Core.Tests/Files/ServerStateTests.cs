using FedICU.Files;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

public sealed class ServerStateTests
{
    private static readonly ArrayModel Model = new([Tensor("a#m", DType.F32, 3), Tensor("b#v", DType.F64)]);
    private static readonly string Digest = ModelDigest.Compute(Model);

    [TestCase("fedicu.state", null, "metadata 'fedicu.state' is missing; 'fedadam' was expected")]
    [TestCase("fedicu.state", "median,fedadam", "metadata 'fedicu.state' is 'median,fedadam'; 'fedadam' was expected")]
    [TestCase("rounds", null, "metadata 'rounds' is missing; a whole number of at least 0 was expected")]
    [TestCase("rounds", "-1", "metadata 'rounds' is '-1'; a whole number of at least 0 was expected")]
    [TestCase("rounds", "3.0", "metadata 'rounds' is '3.0'; a whole number of at least 0 was expected")]
    [TestCase("rounds", "9223372036854775808",
        "metadata 'rounds' is '9223372036854775808'; a whole number of at least 0 was expected")]
    [TestCase("round", "5", "the state is of round 5; one of a round before 5 was expected; to start without the state, remove the file")]
    [TestCase("round", "6", "the state is of round 6; one of a round before 5 was expected; to start without the state, remove the file")]
    [TestCase("round", "x", "metadata 'round' is 'x'; a whole number of at least 0 was expected")]
    [TestCase("fedicu.base", null, "metadata 'fedicu.base' is missing; '{0}' was expected")]
    [TestCase("fedicu.base", "sha256:00",
        "the state belongs to the model sha256:00, which its round wrote; this round's global model is {0}; " +
        "to start without the state, remove the file")]
    public void AStateOfAnotherRoundIsRefused(string key, string? value, string reason)
    {
        Dictionary<string, string> metadata = Describe();
        if (value is null)
            metadata.Remove(key);
        else
            metadata[key] = value;
        AssertRefused(metadata, Model.Tensors, string.Format(reason, Digest));
    }

    [Test]
    public void AStateOfOtherTensorsIsRefused()
    {
        TensorInfo a = Model.Tensors[0], b = Model.Tensors[1];
        AssertRefused(Describe(), [a, b, b with { Name = "c#v" }], "tensor 'c#v' is missing; F64 [] was expected");
        AssertRefused(Describe(), [a], "tensor 'b#v' is F64 [], but the model and strategy have no such state");
        AssertRefused(Describe(), [a with { DType = DType.F64 }, b], "tensor 'a#m' is F32 [3]; F64 [3] was expected");
        AssertRefused(Describe(), [a with { Shape = new TensorShape(1, 3) }, b], "tensor 'a#m' is F32 [3]; F32 [1, 3] was expected");
    }

    [Test]
    public void AStateOfAnEarlierOrUnknownRoundIsOpened()
    {
        using var folder = new TempFolder();
        Dictionary<string, string> metadata = Describe();
        Open(metadata, round: null);
        Open(metadata, round: 5);
        metadata.Remove("round");
        Open(metadata, round: 0);

        void Open(Dictionary<string, string> metadata, long? round)
        {
            Save(folder, metadata);
            using ServerState state = ServerState.Open(
                folder["s.safetensors"], "fedadam", [.. Model.Tensors.Reverse()], () => Digest, round);
            Assert.That(state.Rounds, Is.EqualTo(3));
            AssertSame(state.Source, new ArrayModel([.. Model.Tensors.Select(tensor => (tensor, Model.DataOf(tensor.Name)))], metadata));
        }
    }

    [Test]
    public void AFileThatIsNoModelIsRefused()
    {
        using var folder = new TempFolder();
        Assert.That(Refusal(folder["none"]), Is.EqualTo($"'{folder["none"]}' does not exist."));
        Assert.That(Refusal(folder.FullName), Is.EqualTo($"'{folder.FullName}' is a folder, expected a file."));

        static string Refusal(string path) => Assert.Throws<InvalidModelException>(
            () => ServerState.Open(path, "fedadam", Model.Tensors, () => throw new InvalidOperationException(), round: null))!.Message;
    }

    private static Dictionary<string, string> Describe() =>
        new(ServerState.Describe("fedadam", rounds: 3, round: 4)) { [MetadataKeys.Base] = Digest };

    private static void Save(TempFolder folder, Dictionary<string, string> metadata) => Write(
        new ArrayModel([.. Model.Tensors.Select(tensor => (tensor, Model.DataOf(tensor.Name)))], metadata),
        TensorSink.ToFile(folder["s.safetensors"]));

    private static void AssertRefused(Dictionary<string, string> metadata, IReadOnlyList<TensorInfo> expected, string reason)
    {
        using var folder = new TempFolder();
        Save(folder, metadata);
        var refusal = Assert.Throws<InvalidModelException>(
            () => ServerState.Open(folder["s.safetensors"], "fedadam", expected, () => Digest, round: 5))!;
        Assert.That(refusal.Message, Is.EqualTo($"'{folder["s.safetensors"]}': {reason}."));
    }
}
