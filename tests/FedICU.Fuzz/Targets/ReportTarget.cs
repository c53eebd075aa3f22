using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>A round's report as JSON: what is read can be shown and written again.</summary>
internal sealed class ReportTarget : FuzzTarget
{
    public override string Name => "report";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        Json report = Valid(choices);
        for (int i = Mutations.Count(choices); i > 0; i--)
            Mutations.Mutate(report, choices);
        byte[] bytes = report.ToBytes();
        return [new("report.json", choices.OneIn(8) ? Mutations.Mutate(bytes, choices) : bytes)];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        string json = input.Text("report.json");
        RoundReport? report = library.Get("RoundReport.FromJson", () => RoundReport.FromJson(json), out _);
        if (report is null)
            return Outcome.Refused;
        library.Get("RoundReport.ToString", report.ToString, out _);
        // what is infinite is written as null, and left out where that is allowed: the second writing is the last
        string? first = library.Get("RoundReport.ToJson", report.ToJson, out _);
        string? second = library.Get("RoundReport.FromJson", () => RoundReport.FromJson(first!).ToJson(), out Exception? refusal);
        FuzzFailure.Unless(second is not null, $"a report that was written is refused: {refusal?.Message}", "a written report is refused");
        string? third = library.Get("RoundReport.FromJson", () => RoundReport.FromJson(second!).ToJson(), out _);
        FuzzFailure.Unless(third == second, "a report that was written is read as another");
        return Outcome.Accepted;
    }

    private static Json Valid(Choices choices)
    {
        Json Client(string id) => Json.Object(
            ("id", Json.Text(id)), ("weight", Json.Value("2.5")), ("share", Json.Value("0.5")),
            ("included", Json.Value(choices.OneIn(4) ? "false" : "true")),
            ("reason", choices.OneIn(2) ? Json.Text("It left.") : Json.Value("null")), ("kind", Json.Text("full")),
            ("bytes_sent", Json.Number(12)), ("bytes_full", Json.Number(12)));
        Json Part(string id) => Json.Object(("id", Json.Text(id)), ("weight", Json.Value("0.25")), ("score", Json.Value("null")),
            ("share_sent", Json.Value("1")));
        return Json.Object(
            ("strategy", Json.Text("fedicu")), ("backend", Json.Text("simd")), ("round", Json.Number(3)),
            ("clients", Json.Array(Client("a"), Client("b"))),
            ("tensors", Json.Array(Json.Object(
                ("name", Json.Text("w")), ("dtype", Json.Text("F32")), ("shape", Json.Array(Json.Number(2), Json.Number(3))),
                ("rule", Json.Text("fedicu")),
                ("reason", Json.Value("null")), ("clients", Json.Array(Part("a"), Part("b")))))),
            ("lora_pairs", Json.Array(Json.Object(("name", Json.Text("m")), ("cross_term", Json.Value("0.1"))))),
            ("notes", Json.Array(Json.Text("A note."))));
    }
}
