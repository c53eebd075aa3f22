using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>Tests untrusted names of clients and tensors in a round, its report and a session.</summary>
internal sealed class NamesTarget : FuzzTarget
{
    public override string Name => "names";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices) =>
    [
        new("id", SettingsTarget.Utf16(Literals.Text(choices))),
        new("other", SettingsTarget.Utf16(choices.OneIn(3) ? "b" : Literals.Text(choices))),
        new("tensor", SettingsTarget.Utf16(Literals.Text(choices))), new("fault", choices.Of(["none", "shape", "extra", "nonfinite"])),
    ];

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        string id = SettingsTarget.Utf16(input["id"]), other = SettingsTarget.Utf16(input["other"]);
        string tensor = SettingsTarget.Utf16(input["tensor"]), fault = input.Text("fault");
        var global = new MemoryModel { { tensor, [2], new float[] { 1, 2 } } };
        float[] values = [fault == "nonfinite" ? float.NaN : 3, 4];
        var client = new MemoryModel { { tensor, fault == "shape" ? [1, 2] : [2], values } };
        if (fault == "extra")
            client.Add(tensor + "x", [1], new float[] { 1 });
        ClientUpdate? update = library.Get("ClientUpdate.FromTensors", () =>
            ClientUpdate.FromTensors(id, client, examples: 1), out _, typeof(ArgumentException));
        ClientUpdate? second = library.Get("ClientUpdate.FromTensors", () =>
            ClientUpdate.FromTensors(other, client, examples: 1), out _, typeof(ArgumentException));
        if (update is null || second is null)
        {
            FuzzFailure.Unless(id.Length == 0 || other.Length == 0, "a name that is not empty is refused");
            return Outcome.Refused;
        }

        Outcome outcome = CheckRound(library, global, [update, second], place);
        CheckSession(library, global, update, place);
        return outcome;
    }

    private static Outcome CheckRound(Caller library, MemoryModel global, ClientUpdate[] updates, FuzzPlace place)
    {
        string path = place["next.safetensors"];
        Exception? refusal = Rounds.Run(library, new RoundOptions { Threads = 1 }, TensorSink.ToFile(path), updates,
            out RoundReport? report, global: global);
        FuzzFailure.Unless(refusal is null == File.Exists(path), "a refused round left an output, or an accepted round left none");
        if (report is null)
            return Outcome.Refused;
        string? text = library.Get("RoundReport.ToString", report.ToString, out _);
        string? json = library.Get("RoundReport.ToJson", report.ToJson, out _);
        FuzzFailure.Unless(
            text!.Split('\n').All(line => Caller.FindUnsafe(line.TrimEnd('\r')) is null),
            $"the report's text holds U+{(int)(Caller.FindUnsafe(text.ReplaceLineEndings("")) ?? ' '):X4}",
            "unsafe character in the report");
        library.Get("RoundReport.FromJson", () => RoundReport.FromJson(json!), out refusal);
        FuzzFailure.Unless(refusal is null, $"the report cannot be read again: {refusal?.Message}", "a report that cannot be read again");
        return Outcome.Accepted;
    }

    private static void CheckSession(Caller library, MemoryModel global, ClientUpdate update, FuzzPlace place)
    {
        // refused if the tensor's name cannot be written to a file
        AggregationSession? session = library.Get("AggregationSession.Create", () =>
            AggregationSession.Create(place["session"], global, new RoundOptions { Threads = 1 }), out _);
        if (session is null)
            return;
        Exception? refusal;
        using (session)
            refusal = library.Try("AddAsync", () => session.AddAsync(update).GetAwaiter().GetResult());
        using AggregationSession? again = library.Get("AggregationSession.Open", () =>
            AggregationSession.Open(place["session"], global, new RoundOptions { Threads = 1 }), out Exception? closed);
        FuzzFailure.Unless(again is not null, $"a session does not open again: {closed?.Message}", "a session does not open again");
        FuzzFailure.Unless(
            again!.Updates.Select(kept => kept.Id).SequenceEqual(refusal is null ? [update.Id] : []),
            "a session has other clients after it was opened again");
    }
}
