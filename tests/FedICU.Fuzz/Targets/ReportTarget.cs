using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>Tests a round's report as JSON. A report that can be read can also be shown and written again.</summary>
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
        // infinite values are written as null or left out, so only the second written text must stay the same
        string? first = library.Get("RoundReport.ToJson", report.ToJson, out _);
        string? second = library.Get("RoundReport.FromJson", () => RoundReport.FromJson(first!).ToJson(), out Exception? refusal);
        FuzzFailure.Unless(second is not null, $"a written report is refused: {refusal?.Message}", "a written report is refused");
        string? third = library.Get("RoundReport.FromJson", () => RoundReport.FromJson(second!).ToJson(), out _);
        FuzzFailure.Unless(third == second, "a written report changes when it is read");
        return Outcome.Accepted;
    }

    private static Json Valid(Choices choices)
    {
        ClientReport Client(string id) => new()
        {
            Id = id,
            Weight = 2.5,
            Share = 0.5,
            Included = !choices.OneIn(4),
            Reason = choices.OneIn(2) ? "It left." : null,
            Kind = "full",
            BytesSent = 12,
            BytesFull = 12,
        };
        var report = new RoundReport
        {
            Strategy = "fedicu",
            Backend = "simd",
            Round = 3,
            Clients = [Client("a"), Client("b")],
            Tensors =
            [
                new TensorReport
                {
                    Name = "w", DType = "F32", Shape = [2, 3], Rule = "fedicu", Reason = choices.OneIn(4) ? "It was kept." : null,
                    Clients = [new TensorClientReport { Id = "a", Weight = 0.25, Score = 1 },
                        new TensorClientReport { Id = "b", Weight = 0.75 }],
                },
            ],
            LoraPairs = [new LoraPairReport("m", 0.1)],
            Notes = ["A note."],
        };
        return Json.Parse(report.ToJson());
    }
}
