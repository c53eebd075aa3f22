using System.Text;
using FedICU.Fedn.Protocol;
using Google.Protobuf;
using Grpc.Core;

namespace FedICU.Fedn.Tests;

/// <summary>
/// Tests that the round's policies decide about one client's fault, and that no gRPC error ends the round.
/// </summary>
internal sealed class FaultTests
{
    private static readonly string[] DropClient =
    [
        .. ((string[])
            ["nonfinite", "missing", "extra", "shape", "dtype", "base", "unreadable", "weight", "config", "quantized", "changed", "stale"])
            .Select(policy => $"--FedIcu:Settings:on-{policy}=drop-client"),
        "--FedIcu:Settings:quorum=1",
        "--FedIcu:MaxModelBytes=1048576",
    ];

    private static readonly byte[] Global = Archives.Of(Model(0));

    private static readonly TestCaseData[] Metadata =
    [
        Case("negative", """{"num_examples": -5}""", "num_examples is -5; a finite number of at least 0 was expected."),
        Case("NaN", """{"num_examples": NaN}""", "num_examples is NaN; a finite number of at least 0 was expected."),
        Case("Infinity", """{"num_examples": Infinity}""", "num_examples is Infinity; a finite number of at least 0 was expected."),
        Case("-Infinity", """{"num_examples": -Infinity}""", "num_examples is -Infinity; a finite number of at least 0 was expected."),
        Case("1e400", """{"num_examples": 1e400}""", "num_examples is 1e400; a finite number of at least 0 was expected."),
        Case("string", """{"num_examples": "12"}""", "num_examples is \"12\"; a finite number of at least 0 was expected."),
        Case(
            "surrogate as value", """{"num_examples": "\ud800"}""",
            @"num_examples is ""\ud800""; a finite number of at least 0 was expected."),
        Case("boolean", """{"num_examples": true}""", "num_examples is true; a finite number of at least 0 was expected."),
        Case("null", """{"num_examples": null}""", "num_examples is null; a finite number of at least 0 was expected."),
        Case("array", """{"num_examples": [1, 2]}""", "num_examples is [1, 2]; a finite number of at least 0 was expected."),
        Case("object", """{"num_examples": {"a": 1}}""", """num_examples is {"a": 1}; a finite number of at least 0 was expected."""),
        Case("twice", """{"num_examples": 1, "num\u005fexamples": 2}""", "the metadata hold num_examples twice."),
        Case("surrogate as name", """{"num_examples\ud800": 1}""", "the metadata hold a name that is not valid Unicode."),
        Case("empty", "", "the metadata are not valid JSON of at most 64 levels: the fault is at byte 0."),
        Case("not closed", """{"num_examples": 1""", "the metadata are not valid JSON of at most 64 levels: the fault is at byte 18."),
        Case(
            "more after it", """{"num_examples": 1} 2""",
            "the metadata are not valid JSON of at most 64 levels: the fault is at byte 20."),
        Case(
            "nested too deeply", """{"a": """ + new string('[', 100_000),
            "the metadata are not valid JSON of at most 64 levels: the fault is at byte 69."),
        Case("array alone", "[]", "the metadata are an array; an object was expected."),
        Case("string alone", "\"num_examples\"", "the metadata are a string; an object was expected."),
        Case("NaN alone", "NaN", "the metadata are a string; an object was expected."),
        Case(
            "10 MB", $$"""{"a": "{{new string('x', 10_000_000)}}"}""", "the metadata have 10000009 bytes; at most 1048576 were expected."),
    ];

    private static readonly TestCaseData[] Models =
    [
        Case("empty", Array.Empty<byte>()),
        Case("not an archive", "<!DOCTYPE html>"u8.ToArray()),
        Case("no entries", Archives.Zip()),
        Case("truncated", Global[..^30]),
        Case("cut in the middle", Global[..100]),
        Case("damaged", Damaged()),
        Case("too large", new byte[(1 << 20) + 1]),
        Case("bomb", Archives.Zip(("0.npy", new byte[200 << 20]))),
        Case("entry of another name", Archives.Zip(("0", new byte[8]))),
        Case("text array", Archives.OneArray("'<U2'")),
        Case("objects", Archives.OneArray("'|O'")),
        Case("records", Archives.OneArray("[('x', '<f4')]")),
        Case("bfloat16", Archives.OneArray("'|V2'", shape: "(4,)")),
        Case("complex128", Archives.OneArray("'<c16'")),
        Case("Fortran order", Archives.OneArray(order: "True", shape: "(1, 2)")),
        Case("shape that overflows", Archives.OneArray(shape: "(4294967296, 4294967296)")),
        Case("bytes that overflow", Archives.OneArray(shape: "(4611686018427387904,)")),
        Case("negative dimension", Archives.OneArray(shape: "(-2,)")),
        Case("65 dimensions", Archives.OneArray(shape: $"({string.Concat(Enumerable.Repeat("1, ", 65))})")),
        Case("three million dimensions", Archives.OneArray(version: 2, shape: $"({string.Concat(Enumerable.Repeat("1,", 3_000_000))})")),
        Case("fewer bytes than the shape", Archives.OneArray(bytes: 4)),
        Case("more bytes than the shape", Archives.OneArray(bytes: 12)),
        Case("too few arrays", Archives.OneArray()),
        Case(
            "too many arrays",
            Archives.Of(new MemoryModel { { "0", [2], new float[2] }, { "1", [2], new long[2] }, { "2", [2], new float[2] } })),
        Case("another shape", Archives.Of(new MemoryModel { { "0", [3], new float[3] }, { "1", [2], new long[2] } })),
        Case("another type", Archives.Of(new MemoryModel { { "0", [2], new int[2] }, { "1", [2], new long[2] } })),
        Case("NaN", Archives.Of(new MemoryModel { { "0", [2], new[] { 1, float.NaN } }, { "1", [2], new long[2] } })),
        Case(
            "infinity",
            Archives.Of(new MemoryModel { { "0", [2], new[] { float.NegativeInfinity, 0 } }, { "1", [2], new long[2] } })),
    ];

    [TestCaseSource(nameof(Metadata))]
    public async Task OnWeightDecidesAboutUnusableMetadata(string metadata, string reason)
    {
        string message = $"Client 'mallory': {reason}";
        foreach (bool drops in (bool[])[true, false])
        {
            string[] policy = drops ? ["--FedIcu:Settings:on-weight=drop-client", "--FedIcu:Settings:quorum=1"] : [];
            await using FednServer server = await FednServer.StartAsync("fedavg", policy);
            using FednCombiner combiner = server.Combiner();
            await BeginAsync(combiner);
            Assert.That(await combiner.MetadataAsync("mallory", metadata), Is.EqualTo($"ERROR: {message}"));
            string answer = await combiner.StoreAsync("mallory", Archives.Of(Model(5)));
            Assert.That(answer, Is.EqualTo("Received model originating from mallory"));
            if (drops)
                await ExpectFourClientsAsync(combiner);
            else
                ExpectRefused(combiner, Is.EqualTo(message));
        }
    }

    [TestCaseSource(nameof(Models))]
    public async Task ThePoliciesDecideAboutAnUnusableModel(byte[] model)
    {
        foreach (bool drops in (bool[])[true, false])
        {
            await using FednServer server = await FednServer.StartAsync("fedavg", drops ? DropClient : ["--FedIcu:MaxModelBytes=1048576"]);
            using FednCombiner combiner = server.Combiner();
            await BeginAsync(combiner);
            string answer = await combiner.UpdateAsync("mallory", 1000, model);
            Assert.That(answer, Does.Match(@"^ERROR: Client 'mallory': .{1,900}\.$").Or.EqualTo("Received model originating from mallory"));
            if (drops)
                await ExpectFourClientsAsync(combiner);
            else
                ExpectRefused(combiner, answer.StartsWith("ERROR", StringComparison.Ordinal)
                    ? Is.EqualTo(answer["ERROR: ".Length..]) : Does.StartWith("Client 'mallory'"));
        }
    }

    [Test]
    public async Task TheOthersRoundGoesOnAfterEveryKindOfFault()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", DropClient);
        using FednCombiner combiner = server.Combiner();
        foreach (TestCaseData fault in Metadata)
            await RoundAsync($"metadata: {fault.ArgDisplayNames![0]}", (string)fault.Arguments[0]!, Archives.Of(Model(5)));
        foreach (TestCaseData fault in Models)
            await RoundAsync($"model: {fault.ArgDisplayNames![0]}", """{"num_examples": 1000}""", (byte[])fault.Arguments[0]!);
        await RoundAsync("both", """{"num_examples": -1}""", [1]);
        await RoundAsync("no weight where others have one", "{}", Archives.Of(Model(5)));
        await RoundAsync("no metadata", null, Archives.Of(Model(5)));
        await RoundAsync("no model", """{"num_examples": 1000}""", null);
        await RoundAsync("weight above the largest", """{"num_examples": 1e300}""", Archives.Of(Model(5)));

        async Task RoundAsync(string fault, string? metadata, byte[]? model)
        {
            await BeginAsync(combiner);
            if (metadata is not null)
                await combiner.MetadataAsync("mallory", metadata);
            if (model is not null)
                await combiner.StoreAsync("mallory", model);
            await ExpectFourClientsAsync(combiner, fault);
        }
    }

    [Test]
    public async Task ARoundWithoutRemainingClientsIsRefused()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg", DropClient);
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        await combiner.UpdateAsync("mallory", 1, [1]);
        ExpectRefused(combiner, Does.StartWith("No client remains in the round. Client 'mallory': the archive is not an npz file"));
    }

    [Test]
    public async Task PythonsNaNAndInfinityAreAcceptedInOtherFields()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await BeginAsync(combiner);
        const string Text =
            """{"loss": NaN, "best": [-Infinity, Infinity], "note": "NaN \" Infinity", "\ud800": "\ud800",""" +
            """ "num_examples": 3, "last": {"num_examples": 9}}""";
        Assert.That(ClientMetadata.Read(Encoding.UTF8.GetBytes(Text)), Is.EqualTo(new ClientMetadata(3, null)));
        Assert.That(await combiner.MetadataAsync("python", Text), Is.EqualTo("Metadata stored"));
        string[] invalid =
        [
            """{"loss": NaNa}""", """{"loss": nan}""", """{"loss": +Infinity}""", """{"loss": Inf}""", """{NaN: 1, "loss": -NaN}""",
        ];
        foreach (string text in invalid)
            Assert.That(ClientMetadata.Read(Encoding.UTF8.GetBytes(text)).Fault, Does.StartWith("the metadata are not valid JSON"), text);
    }

    [Test]
    public async Task AWholeModelReplacesABrokenOne()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        Assert.That(await combiner.StoreAsync("a", [1]), Does.StartWith("ERROR: Client 'a'"));
        // repeated metadata do not change the model's fault
        Assert.That(await combiner.MetadataAsync("a", """{"num_examples": 2}"""), Is.EqualTo("Metadata stored"));
        ExpectRefused(combiner, Does.StartWith("Client 'a': the archive is not an npz file"));
        await combiner.StoreAsync("a", Archives.Of(Model(1)));
        byte[] result = await combiner.AggregateAsync();
        Assert.That(Rounds.Contents(result), Is.EqualTo(Rounds.Contents(Archives.Of(Model(1)))));
    }

    [Test]
    public async Task AMessageThatIsNotUtf8GetsAnAnswer()
    {
        await using FednServer server = await FednServer.StartAsync("fedavg");
        using FednCombiner combiner = server.Combiner();
        await BeginAsync(combiner);
        ByteString wrong = ByteString.CopyFrom(0xff), mallory = ByteString.CopyFromUtf8("mallory");
        ClientMetaResponse answer = await combiner.Client.HandleMetadataAsync(
            new ClientMetaRequest { Metadata = wrong, ClientId = mallory }, deadline: FednCombiner.Deadline());
        Assert.That(answer.Status, Is.EqualTo(
            "ERROR: Client 'mallory': the metadata are not valid JSON of at most 64 levels: the fault is at byte 0."));
        const string NoUtf8 = "ERROR: The client's id '\ufffd' holds bytes that are not UTF-8.";
        answer = await combiner.Client.HandleMetadataAsync(
            new ClientMetaRequest { Metadata = mallory, ClientId = wrong }, deadline: FednCombiner.Deadline());
        Assert.That(answer.Status, Is.EqualTo(NoUtf8), "a gRPC error would end the round");
        Assert.That(await combiner.MetadataAsync(new string('x', 1001), "{}"), Does.StartWith("ERROR: The client's id is 'xxx"));
        using AsyncClientStreamingCall<StoreModelRequest, StoreModelResponse> call = combiner.BeginStore();
        await call.RequestStream.WriteAsync(new StoreModelRequest { Id = wrong });
        await call.RequestStream.CompleteAsync();
        Assert.That((await call).Status, Is.EqualTo(NoUtf8));
    }

    private static async Task BeginAsync(FednCombiner combiner)
    {
        await combiner.BeginAsync();
        await combiner.StoreAsync("global_model", Global);
        for (int i = 1; i <= 4; i++)
            await combiner.UpdateAsync($"client {i}", i, Archives.Of(Model(i)));
    }

    /// <summary>
    /// Expects the mean of the four honest clients. Client i has the weight i and i times the first client's values, so
    /// the mean is (1 + 4 + 9 + 16) / 10 = 3 times the first client's values.
    /// </summary>
    private static async Task ExpectFourClientsAsync(FednCombiner combiner, string fault = "")
    {
        byte[] result = await combiner.AggregateAsync();
        Assert.That(Rounds.Contents(result), Is.EqualTo(Rounds.Contents(Archives.Of(Model(3)))), fault);
    }

    private static void ExpectRefused(FednCombiner combiner, NUnit.Framework.Constraints.IResolveConstraint detail)
    {
        Status status = Assert.ThrowsAsync<RpcException>(() => combiner.AggregateAsync())!.Status;
        Assert.That(status.StatusCode, Is.EqualTo(StatusCode.InvalidArgument));
        Assert.That(status.Detail, detail);
    }

    /// <summary>Makes a model whose values are proportional to a number.</summary>
    private static MemoryModel Model(int scale) =>
        new() { { "0", [2], new float[] { scale, -2 * scale } }, { "1", [2], new long[] { 10 * scale, 0 } } };

    private static byte[] Damaged()
    {
        byte[] archive = [.. Global];
        int data = archive.AsSpan().IndexOf("0.npy"u8) + 5;
        archive[data + 20] ^= 0xff;
        return archive;
    }

    private static TestCaseData Case(string name, params object[] arguments) => new TestCaseData(arguments).SetArgDisplayNames(name);
}
