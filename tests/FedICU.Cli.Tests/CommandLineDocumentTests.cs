using FedICU.Cli.Comparing;

namespace FedICU.Cli.Tests;

/// <summary>Runs the examples of docs/command-line.md in folders that hold the files they name.</summary>
[NonParallelizable]
public sealed class CommandLineDocumentTests
{
    // they depend on the machine's devices, take long, start another program, or are for a shell (CompletionTests)
    private static readonly string[] NotRun = ["verify", "devices", "bench", "serve", "completion"];

    // the examples of these sections continue the round before
    private static readonly string[] Continued = ["State", "Check"];

    [Test]
    public void TheExamplesRun()
    {
        if (Ancestors.Find("FedICU.Core.sln") is not { } solution)
        {
            Assert.Ignore("the documents are not here");
            return;
        }

        string document = File.ReadAllText(Path.Combine(Path.GetDirectoryName(solution)!, "docs", "command-line.md"));
        string[] sections = document.ReplaceLineEndings("\n").Replace("\n### ", "\n## ", StringComparison.Ordinal).Split("\n## ");
        using Place continued = Prepare();
        int count = 0;
        foreach (string section in sections)
        {
            string title = section.Split('\n')[0];
            foreach (string command in ReadmeTests.Commands(section))
            {
                // those for other shells may have other quotes
                if (NotRun.Contains(command.Split(' ')[1]))
                    continue;
                string[] words = [.. EvaluationCommand.Split(command).Skip(1)];
                using Place own = Prepare();
                Run(words, Continued.Contains(title) ? continued : own);
                count++;
            }
        }

        Assert.That(count, Is.GreaterThanOrEqualTo(20));
        Assert.That(continued.Names(), Does.Contain("state.safetensors").And.Contain("state-2.safetensors"));
    }

    private static void Run(string[] words, Place place)
    {
        string here = Environment.CurrentDirectory;
        Environment.CurrentDirectory = Path.GetDirectoryName(place.Global)!;
        try
        {
            Run run = Tool.Run(words);
            // a comparison says how far it is
            string[] errors = [.. run.Error.Split('\n').Where(line => line.Length > 0 && (words[0] != "compare" || line[0] != '['))];
            Assert.That((run.Code, string.Join('\n', errors)), Is.EqualTo((0, "")), string.Join(' ', words));
            Assert.That(run.Output, Is.Not.Empty);
        }
        finally
        {
            Environment.CurrentDirectory = here;
        }
    }

    private static Place Prepare()
    {
        var place = new Place();
        string[] adapters = ["base", "run7/a", "run7/b", "trained", "adapter"];
        for (int i = 0; i < adapters.Length; i++)
            place.WriteAdapter(adapters[i], i);
        place.Write(Path.Combine("llama", "model.safetensors"), new MemoryModel { { "base.q_proj.weight", [3, 4], new float[12] } });
        foreach (string copy in (string[])["g/model", "a/model", "before", "model"])
            Copy(place.Global, copy);
        foreach (string copy in (string[])["b/model", "c/model", "after", "trained", "round7/a", "round7/b"])
            Copy(place.B, copy);
        place.Write("round7.json", """{"clients": [{"path": "round7/a.safetensors"}, {"path": "round7/b.safetensors"}]}""");
        place.Write("mergekit.yml", """
            {merge_method: ties, base_model: global.safetensors, models: [{model: a.safetensors, parameters: {weight: 1}}]}
            """);
        // the reports of a round, alone and in folders of rounds
        foreach (string report in (string[])["round.json", "rounds/1/report.json", "rounds/round-2/report.json"])
        {
            Directory.CreateDirectory(Path.GetDirectoryName(place[report])!);
            Tool.Run([.. place.RoundLine([place.A, place.B], place["next-reported.safetensors"]), "--report", place[report]]).Succeeded();
        }

        place.Write("eval.py", "import os, sys; print('accuracy:', os.path.getsize(sys.argv[1]))");
        // an update and a momentum of the same model
        Tool.Run(
            "mask", "--global", place.Global, "--local", place["trained.safetensors"], "--momentum-out", place["m.safetensors"],
            "--output", place["update.safetensors"]).Succeeded();
        return place;

        void Copy(string from, string name)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(place[name])!);
            File.Copy(from, place[name + ".safetensors"]);
        }
    }
}
