using System.Diagnostics;
using System.Text.Json;

namespace FedICU.Cli.Tests.Comparing;

/// <summary>Tests <c>fedicu compare</c> with programs of a Unix shell as evaluations.</summary>
[Platform(Exclude = "Win", Reason = "the evaluations are scripts of sh")]
public sealed class CompareTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp()
    {
        _place = new Place();
        // a number that the model's bytes decide, and a count of the evaluations
        _place.Write("eval.sh", "echo x >> \"$2\"\nprintf 'sum: %s\\n' \"$(cksum < \"$1\" | cut -d' ' -f1)\"\n");
    }

    [TearDown]
    public void TearDown() => _place.Dispose();

    private string Folder => _place["results of it"];

    private string Evaluation => $"sh '{_place["eval.sh"]}' {{model}} '{_place["count"]}'";

    private int Evaluations => File.Exists(_place["count"]) ? File.ReadAllLines(_place["count"]).Length : 0;

    private string[] Line(string strategies, params string[] others) =>
    [
        "compare", "--strategies", strategies, "--global", _place.Global, "--client", _place.A, "--client", _place.B, "--client", _place.C,
        "--output", Folder, .. others,
    ];

    private JsonElement Results => JsonDocument.Parse(File.ReadAllText(Path.Combine(Folder, "comparison.json"))).RootElement;

    private JsonElement[] Runs => [.. Results.GetProperty("runs").EnumerateArray()];

    private static Run Done(Run run)
    {
        Assert.That(run.Code, Is.Zero, run.Error + run.Output);
        return run;
    }

    [Test]
    public void EachRunHasItsModelItsMetricsAndItsRow()
    {
        Run run = Done(Tool.Run(Line("fedavg,fedicu:tau=0.1|inf,fedicu:tau=0.10", "--evaluate", Evaluation, "--maximize", "sum")));
        Assert.That(Runs.Select(each => each.GetProperty("name").GetString()),
            Is.EqualTo(new[] { "global", "fedavg", "fedicu tau=0.1", "fedicu tau=inf", "fedicu tau=0.10" }));
        Assert.That(Evaluations, Is.EqualTo(5));
        string model = Path.Combine(Folder, "fedicu-tau-0.1", "model.safetensors");
        string alone = _place["alone.safetensors"];
        Tool.Run(_place.RoundLine([_place.A, _place.B, _place.C], alone)[..^2].Concat(["--set", "tau=0.1", "--output", alone]).ToArray())
            .Succeeded();
        Assert.That(Place.Digest(model), Is.EqualTo(Place.Digest(alone)), "the same model as aggregate's");
        Assert.That(Runs[2].GetProperty("digest").GetString(), Is.EqualTo(Place.Digest(model)));
        Assert.That(Runs[4].GetProperty("same_as").GetString(), Is.EqualTo("fedicu tau=0.1"));
        Assert.That(run.Output, Does.Contain("same model as fedicu tau=0.1").And.Contain("best").And.Contain("sum"));
        Assert.That(Runs[1].GetProperty("peak_memory_bytes").GetInt64(), Is.GreaterThan(1 << 20));
        Assert.That(File.ReadAllText(Path.Combine(Folder, "comparison.html")), Does.Contain("fedicu tau=inf"));
    }

    [Test]
    public void FaultsAreRefusedAllAtOnceBeforeAnythingRuns()
    {
        string[] names = _place.Names();
        Tool.Run(Line("fedavg,medain:x=1,krumm")).Failed(2, "'medain', 'krumm'", "median");
        Tool.Run(Line("fedavg:beta=1,fedicu:tau=x|0.1,dp-fedavg")).Failed(1, "'beta'", "'x'", "noise-multiplier");
        Tool.Run(Line("fedavg", "--maximize", "sum")).Failed(2, "'--evaluate'");
        Tool.Run(Line("fedavg", "--keep", "best")).Failed(2, "--maximize");
        Tool.Run(Line("fedavg", "--evaluate", "sh {model}", "--timeout", "-1")).Failed(1, "'-1'");
        Tool.Run([.. Line("fedavg")[..^1], Path.GetDirectoryName(_place.Global)!]).Failed(1, "--output");
        Assert.That(_place.Names(), Is.EqualTo(names));
    }

    [Test]
    public void AFolderWithOtherFilesIsRefused()
    {
        _place.Write(Path.Combine("results of it", "thesis.txt"), "mine");
        Tool.Run(Line("fedavg")).Failed(1, "other files");
    }

    [Test]
    public void ARunThatFailsDoesNotStopTheOthers()
    {
        _place.Write("eval.sh", "case $1 in */median/*) echo broken >&2; exit 3;; */fedicu/*) echo hello;; *) echo 1;; esac\n");
        Run run = Tool.Run(Line(
            "median,fedicu,krum:byzantine=1,bulyan:byzantine=1,fedavg", "--evaluate", Evaluation, "--timeout", "2", "--set", "quorum=3"));
        Assert.That(run.Code, Is.EqualTo(1));
        Assert.That(Runs.Select(each => each.GetProperty("outcome").GetString()),
            Is.EqualTo(new[] { "done", "failed", "failed", "failed", "failed", "done" }));
        string[] failures = [.. Runs[1..5].Select(each => each.GetProperty("failure").GetString()!)];
        Assert.That(failures[0], Does.Contain("code 3").And.Contain("broken"));
        Assert.That(failures[1], Does.Contain("no number").And.Contain("hello"));
        Assert.That(string.Join(' ', failures[2..]), Does.Contain("needs at least"), "krum and bulyan need more clients");
        Assert.That(run.Error, Does.Contain("4 of 6 runs failed"));
    }

    [Test]
    public void AnEvaluationThatTakesTooLongIsEnded()
    {
        _place.Write("eval.sh", "sleep 60\n");
        var watch = Stopwatch.StartNew();
        Run run = Tool.Run(Line("fedavg", "--evaluate", Evaluation, "--timeout", "0.5", "--no-baseline"));
        Assert.That(run.Code, Is.EqualTo(1));
        Assert.That(Runs.Single().GetProperty("failure").GetString(), Does.Contain("took longer"));
        Assert.That(watch.Elapsed, Is.LessThan(TimeSpan.FromSeconds(50)), "the program was ended");
    }

    [Test]
    public void FinishedRunsAreNotRunAgainUntilTheirInputsChange()
    {
        string[] line = Line("fedavg,median", "--evaluate", Evaluation);
        Done(Tool.Run(line));
        Assert.That(Evaluations, Is.EqualTo(3));
        Assert.That(Done(Tool.Run(line)).Error.Split("finished before"), Has.Length.EqualTo(4));
        Assert.That(Evaluations, Is.EqualTo(3));

        // a strategy more: only that one runs
        Done(Tool.Run(Line("fedavg,median,fedicu", "--evaluate", Evaluation)));
        Assert.That(Evaluations, Is.EqualTo(4));

        // another evaluation: the models are not made again
        File.AppendAllText(_place["eval.sh"], "echo other: 1\n");
        Run evaluated = Done(Tool.Run(line));
        Assert.That((Evaluations, evaluated.Error.Contains("aggregates", StringComparison.Ordinal)), Is.EqualTo((7, false)));

        // another client
        _place.Write("c.safetensors", Place.Model([9, 0, 0, 3, 0, 1], [1, 1], 17));
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("fedavg: runs again, because a client changed"));
        Assert.That(Evaluations, Is.EqualTo(9), "the global model's evaluation stays");

        Assert.That(Done(Tool.Run([.. line, "--set", "integers=keep"])).Error, Does.Contain("because an option changed"));
        Done(Tool.Run([.. line, "--set", "integers=keep", "--restart"]));
        Assert.That(Evaluations, Is.EqualTo(14));
    }

    [Test]
    public void WhatAKilledComparisonLeftIsCompleted()
    {
        string[] line = Line("fedavg,median", "--evaluate", Evaluation);
        Done(Tool.Run(line));
        string median = Path.Combine(Folder, "median");
        // killed while the evaluation ran: the model is there, its result is half written under another name
        string result = File.ReadAllText(Path.Combine(median, "result.json"));
        File.Move(Path.Combine(median, "result.json"), Path.Combine(median, ".result.json.0123456789abcdef.tmp"));
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("fedavg: finished before").And.Contain("median: aggregates"));
        File.WriteAllText(Path.Combine(median, "result.json"), result[..(result.Length / 2)]);
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("median: aggregates"));
        // another model in its place
        File.Copy(_place.A, Path.Combine(median, "model.safetensors"), overwrite: true);
        File.AppendAllText(_place["eval.sh"], "\n");
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("median: aggregates").And.Not.Contain("fedavg: aggregates"));
        File.Delete(Path.Combine(median, "model.safetensors"));
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("median: aggregates").And.Contain("fedavg: finished before"));
    }

    [Test]
    public void AKilledComparisonGoesOn()
    {
        _place.Write("eval.sh", $"case $1 in *median*) test -e '{_place["go"]}' || sleep 60;; esac\necho 1\n");
        string[] line = Line("fedavg,median", "--evaluate", Evaluation);
        using (Process process = Tool.Start(line))
        {
            var wait = Stopwatch.StartNew();
            while (!File.Exists(Path.Combine(Folder, "median", "evaluation.txt")) && wait.Elapsed < TimeSpan.FromMinutes(1))
                Thread.Sleep(20);
            process.Kill(entireProcessTree: true);
            process.WaitForExit();
        }

        Assert.That(Runs.Select(run => run.GetProperty("outcome").GetString()), Is.EqualTo(new[] { "done", "done", "pending" }));
        _place.Write("go", "");
        Run run = Done(Tool.Run(line));
        Assert.That(run.Error, Does.Contain("fedavg: finished before"));
        Assert.That(Runs.Select(each => each.GetProperty("outcome").GetString()), Is.All.EqualTo("done"));
    }

    [Test]
    public void OnlyTheModelsThatWereAskedForAreKept([Values("all", "best", "none")] string keep)
    {
        Done(Tool.Run(Line("fedavg,median,fedicu", "--evaluate", Evaluation, "--minimize", "sum", "--keep", keep)));
        string[] kept = [.. Runs.Where(run => run.TryGetProperty("model", out _)).Select(run => run.GetProperty("name").GetString()!)];
        string best = Results.GetProperty("best").GetString()!;
        Assert.That(kept, Is.EqualTo(keep switch
        {
            "all" => new[] { "global", "fedavg", "median", "fedicu" },
            "best" => ["global", best],
            _ => ["global"],
        }));
        Assert.That(File.Exists(_place.Global));
    }

    [Test]
    public void TheBestModelIsMadeAgainIfItWasNotKept()
    {
        string[] line = Line("fedavg,median,fedicu", "--evaluate", Evaluation, "--minimize", "sum");
        Done(Tool.Run([.. line, "--keep", "none"]));
        string best = Results.GetProperty("best").GetString()!;
        Assert.That(Directory.GetFiles(Folder, "model.safetensors", SearchOption.AllDirectories), Is.Empty);
        Run run = Done(Tool.Run([.. line, "--keep", "best"]));
        Assert.That(run.Error, Does.Contain($"{best}: aggregates"));
        Assert.That(Directory.GetFiles(Folder, "model.safetensors", SearchOption.AllDirectories),
            Is.EqualTo(new[] { Path.Combine(Folder, best, "model.safetensors") }));
        Assert.That(Evaluations, Is.EqualTo(4), "the same model is not evaluated twice");
        Assert.That(Done(Tool.Run([.. line, "--keep", "best"])).Error, Does.Not.Contain("aggregates"));
    }

    [Test]
    public void ARunWhoseModelOfAnOptionChangesIsRunAgain([Values] bool isShared)
    {
        const string Root = "root/model.safetensors";
        _place.Write(Root, Place.Model([2, 0, 0, 2, 1.5f, 0.5f], [0.25f, -1], 12));
        string setting = $"root={_place["root"]}";
        string[] line = isShared ? Line("fltrust", "--set", setting) : Line($"fltrust:{setting}");
        Done(Tool.Run(line));
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("finished before"));
        _place.Write(Root, Place.Model([1, 1, 1, 2, 1, -1], [0.5f, -2], 14, ("note", "another length")));
        Assert.That(Done(Tool.Run(line)).Error, Does.Contain("because an option changed"));
        Tool.Run([.. line[..^(isShared ? 4 : 2)], "--output", _place["root"], .. isShared ? line[^2..] : []])
            .Failed(1, "--output", "the option 'root'");
    }

    [Test]
    public void ACancelledComparisonCountsFinishedRuns()
    {
        _place.Write("eval.sh", "case $1 in *median*) sleep 60;; esac\necho 1\n");
        using var cancellation = new CancellationTokenSource();
        Task<Run> comparison = Task.Run(() => Tool.Run(cancellation.Token, Line("fedavg,median,fedicu", "--evaluate", Evaluation)));
        string begun = Path.Combine(Folder, "median", "evaluation.txt");
        Assert.That(() => File.Exists(begun), Is.True.After(delayInMilliseconds: 60_000, pollingInterval: 20));
        cancellation.Cancel();
        Assert.That(comparison.Result.Code, Is.EqualTo(130));
        Assert.That(comparison.Result.Error, Does.Contain("has 2 finished runs of 4"));
    }

    [Test]
    public void APathMayBeginLikeAnOption()
    {
        File.Move(_place.Global, _place["--g.safetensors"]);
        using Process process = Tool.Start(
            ["compare", "--strategies", "fedavg", "--global=--g.safetensors", "--client", _place.A, "--output", Folder],
            start => start.WorkingDirectory = _place["."]);
        Done(Tool.End(process));
    }

    [Test]
    public void AnOutputThatCannotBeWrittenIsTheRunsFailure()
    {
        Directory.CreateDirectory(Path.Combine(Folder, "fedavg", "evaluation.txt"));
        Directory.CreateDirectory(Path.Combine(Folder, "median", "aggregate.json"));
        File.WriteAllText(Path.Combine(Folder, "comparison.json"), "{}");
        Assert.That(Tool.Run(Line("fedavg,median,fedicu", "--evaluate", Evaluation, "--no-baseline")).Code, Is.EqualTo(1));
        Assert.That(Runs[0].GetProperty("failure").GetString(), Does.Contain("evaluation.txt' cannot be written"));
        Assert.That(Runs[1].GetProperty("failure").GetString(), Does.Contain("aggregate.json' cannot be written"));
        Assert.That(Runs[2].GetProperty("outcome").GetString(), Is.EqualTo("done"));
    }

    [Test]
    public void AFolderOfAComparisonThatWroteNothingIsTaken()
    {
        _place.Write(Path.Combine("results of it", ".comparison.json.0123456789abcdef.tmp"), "{");
        _place.Write(Path.Combine("results of it", ".fedicu-lock"), "");
        Done(Tool.Run(Line("fedavg")));
        Assert.That(Directory.GetFiles(Folder, ".*"), Is.Empty);
    }

    [Test]
    public void JsonIsTheFileOfTheResults()
    {
        Run run = Done(Tool.Run(Line("fedavg", "--json")));
        Assert.That(run.Output.TrimEnd(), Is.EqualTo(File.ReadAllText(Path.Combine(Folder, "comparison.json")).TrimEnd()));
        Assert.That(Results.GetProperty("format").GetString(), Is.EqualTo("fedicu-comparison"));
        Assert.That(Runs.Single().GetProperty("metrics").EnumerateObject().Any(), Is.False, "without --evaluate");
    }

    [Test]
    public void AggregatePrintsItsResultAsJson()
    {
        string[] line = _place.RoundLine([_place.A, _place.B, _place.C]);
        JsonElement result = JsonDocument.Parse(Tool.Run([.. line, "--json"]).Succeeded().Output).RootElement;
        Assert.That(result.GetProperty("digest").GetString(), Is.EqualTo(Place.Digest(_place["out.safetensors"])));
        Assert.That(result.GetProperty("included_clients").GetInt32(), Is.EqualTo(3));
        Assert.That(result.GetProperty("peak_memory_bytes").GetInt64(), Is.GreaterThan(1 << 20));
        Tool.Run([.. line, "--json", "--check"]).Failed(2, "'--json' and '--check'");
        Tool.Run([.. line, "--no-statistics"]).Failed(2, "'--report'");
        Tool.Run([.. line, "--no-statistics", "--report", _place["r.json"]]).Succeeded();
        Assert.That(File.ReadAllText(_place["r.json"]), Does.Not.Contain("cosine"));
    }
}
