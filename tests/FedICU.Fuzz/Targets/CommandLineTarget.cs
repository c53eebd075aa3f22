using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests whole command lines over files that may be damaged. The exit code must be 0 to 2. Any code but 0 must come
/// with exactly one line on the error stream and no partial output.
/// </summary>
internal sealed class CommandLineTarget : FuzzTarget
{
    private static readonly string[][] Lines =
    [
        ["aggregate", "--strategy", "fedavg", "--global", "global.safetensors", "--client", "a=a.safetensors", "--client",
            "b=b.safetensors", "--output", "next.safetensors"],
        ["aggregate", "--strategy", "fedicu", "--global", "global.safetensors", "--client", "a.safetensors", "--client", "b.safetensors",
            "--weights", "1,2", "--output", "next", "--report", "report.json", "--round", "7"],
        ["aggregate", "--strategy", "fedprox", "--set", "mu=0.1", "--set", "on-unreadable=drop-client", "--set", "quorum=1", "--global",
            "global.safetensors", "--client", "a.safetensors", "--client", "b.safetensors", "--dtype", "f16", "--output",
            "next.safetensors"],
        ["mask", "--global", "global.safetensors", "--local", "b.safetensors", "--output", "next.safetensors", "--mask", "top=0.2"],
        ["mask", "--global", "global.safetensors", "--local", "b.safetensors", "--output", "next.safetensors", "--dense", "--momentum-out",
            "m.safetensors", "--round", "3"],
        ["explain", "--global", "global.safetensors", "--client", "x=a.safetensors", "--client", "b.safetensors", "--set",
            "similarity=mean"],
        ["aggregate", "--strategy", "krum,fedadam", "--set", "byzantine=0", "--global", "global.safetensors", "--client", "a.safetensors",
            "--client", "b.safetensors", "--client", "c=global.safetensors", "--state", "s.safetensors", "--output", "next.safetensors"],
        ["aggregate", "--check", "--strategy", "median", "--global", "global.safetensors", "--client", "a.safetensors", "--client",
            "b.safetensors"],
        ["strategies", "fedicu"],
        ["inspect", "b.safetensors", "--stats"],
        ["inspect", "adapter"],
        ["diff", "global.safetensors", "b.safetensors"],
        ["help", "aggregate"],
    ];

    // without devices, bench and verify, which measure the machine and take seconds
    private static readonly string[] Words =
    [
        "aggregate", "mask", "explain", "inspect", "diff", "--help", "--version", "-h", "--", "-", "--strategy", "--global", "--client",
        "--output", "--set", "--weights", "--unknown", "--set=tau=1", "--strategy=fedavg", "--state", "--state-out", "--check",
        "--plugin", "strategies", "median,fedadam", "krum,median",
        "--threads", "--backend", "simd", "reference", "quantum", "1,2", "1,-2", "nan,1", "1e400,1", "=", "a=", "=a.safetensors", "tau=",
        "=1", "global.safetensors", "b.safetensors", "adapter", "none.safetensors", "@b.safetensors",
        "-1", "99999999999999999999", "next.safetensors", "",
    ];

    public override string Name => "command-line";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        List<string> line = [.. choices.Of(Lines)];
        bool changesLine = choices.OneIn(2);
        for (int i = changesLine ? Mutations.Count(choices) : 0; i > 0; i--)
            Change(line, choices);
        ModelDraft draft = Rounds.Draft(choices.Between(1000, 1100));
        Json header = draft.Header(choices);
        if (!changesLine)
        {
            for (int i = Mutations.Count(choices); i > 0; i--)
                Mutations.Mutate(header, choices);
        }

        // arguments are UTF-8, as from an operating system
        return [new("in/b.safetensors", ModelDraft.File(header.ToBytes(), draft.Data)), .. line.Select(word => new FuzzPart("word", word))];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        place.PutAll(input, "in/");
        place.Put("in/global.safetensors", Rounds.GlobalDraft.ToBytes());
        place.Put("in/a.safetensors", Rounds.Draft(2).ToBytes());
        place.Put("in/adapter/adapter_model.safetensors", Rounds.Draft(3).ToBytes());
        place.Put("in/adapter/adapter_config.json", "{\"peft_type\":\"LORA\",\"r\":2}"u8.ToArray());
        SortedDictionary<string, byte[]> before = place.Files();
        string[] words = [.. input.Parts.Where(part => part.Name == "word").Select(part =>
            System.Text.Encoding.UTF8.GetString(part.Bytes))];

        using StringWriter output = new(), error = new();
        int code = -1;
        string here = Environment.CurrentDirectory;
        Environment.CurrentDirectory = place["in"];
        try
        {
            library.Try("fedicu", () => code = Cli.Program.RunAsync(words, output, error).GetAwaiter().GetResult(),
                freeBytes: Caller.FreeBytesOfMasks);
        }
        finally
        {
            Environment.CurrentDirectory = here;
        }

        CheckStreams(code, output.ToString(), error.ToString());
        if (code == 0)
            return Outcome.Accepted;
        place.CheckFiles(before, $"exit code {code}");
        return Outcome.Refused;
    }

    private static void CheckStreams(int code, string output, string error)
    {
        FuzzFailure.Unless(code is >= 0 and <= 2, $"the exit code is {code}");
        FuzzFailure.Unless(!error.Contains("should not have happened", StringComparison.Ordinal), error,
            $"should not have happened: {string.Join(' ', error.Split(' ').Skip(6).Take(1))}");
        string[] lines = error.Split(Environment.NewLine, StringSplitOptions.RemoveEmptyEntries);
        string[] failures = [.. lines.Where(line => !line.StartsWith("fedicu: warning: ", StringComparison.Ordinal))];
        FuzzFailure.Unless(failures.Length == (code == 0 ? 0 : 1),
            $"exit code {code} with {failures.Length} lines on the error stream: {error}", "lines on the error stream");
        foreach (string failure in failures)
        {
            FuzzFailure.Unless(failure.StartsWith("fedicu: ", StringComparison.Ordinal),
                $"the line does not begin with the tool's name: {failure}", "the line does not begin with the tool's name");
            Caller.CheckSentence(failure["fedicu: ".Length..], "the error stream",
                $"exit code {code}: {string.Join(' ', failure.Split(' ').Skip(1).Take(3))}");
        }

        FuzzFailure.Unless(
            code == 0 || output.Length == 0, $"exit code {code} with results on the output: {output[..Math.Min(200, output.Length)]}",
            "output of a failed command");
    }

    private static void Change(List<string> line, Choices choices)
    {
        int at = choices.Below(line.Count);
        string word = choices.OneIn(2) ? choices.Of(Words) : choices.OneIn(2) ? Literals.Text(choices)
            : $"{choices.Of(["tau", "mu", "quorum", "on-weight", "preset", "a", ""])}={Literals.Number(choices)}";
        // keeps the command line from writing outside the case's folder
        word = word.Contains("..", StringComparison.Ordinal) || word.StartsWith('/') ||
            word is "devices" or "bench" or "verify" ? "x" : word;
        switch (choices.Below(4))
        {
            case 0:
                line.RemoveAt(at);
                if (line.Count == 0)
                    line.Add(word);
                break;
            case 1:
                line.Insert(choices.Below(line.Count + 1), line[at]);
                break;
            case 2:
                line.Insert(choices.Below(line.Count + 1), word);
                break;
            default:
                line[at] = word;
                break;
        }
    }
}
