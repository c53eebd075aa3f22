using System.Text.Json.Nodes;

namespace FedICU.Cli.Tests;

/// <summary>Runs <c>fedicu merge</c>: by options, by mergekit configurations, and with bad input.</summary>
public sealed class MergeTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void AMergeIsTheRoundOfItsModels()
    {
        Merge("ties", "merged.safetensors", "--set", "density=0.5");
        Aggregate("ties", "round.safetensors", "0.75,0.25", "density=0.5");
        Assert.That(Place.Digest(_place["merged.safetensors"]), Is.EqualTo(Place.Digest(_place["round.safetensors"])));
    }

    [TestCase("ties", "density: 0.5", "ties", "density=0.5", "weighting=share", "disjoint=mean")]
    [TestCase("ties", "density: 0.5, normalize: false", "ties", "density=0.5", "weighting=raw", "disjoint=sum")]
    [TestCase("task_arithmetic", "lambda: 0.5", "task-arithmetic", "weighting=raw", "scale=0.5")]
    [TestCase("breadcrumbs", "density: 0.5, gamma: 0.1", "breadcrumbs", "density=0.5", "gamma=0.1", "weighting=raw")]
    [TestCase("dare_linear", "density: 0.5", "dare", "density=0.5", "rescale=l1", "weighting=raw", "seed=5")]
    [TestCase("dare_ties", "density: 0.5, rescale: false", "dare", "density=0.5", "rescale=none", "merge=ties", "weighting=raw", "seed=5")]
    [TestCase("linear", "normalize: true", "fedavg")]
    public void AConfigurationIsTheSameMerge(string method, string parameters, string strategy, params string[] options)
    {
        string config = Config(method, $"parameters: {{{parameters}}}");
        string[] seed = options.Contains("seed=5") ? ["--set", "seed=5"] : [];
        Tool.Run(["merge", "--config", config, "--output", _place["merged.safetensors"], .. seed]).Succeeded();
        Aggregate(strategy, "round.safetensors", "0.75,0.25", options);
        Assert.That(Place.Digest(_place["merged.safetensors"]), Is.EqualTo(Place.Digest(_place["round.safetensors"])));
    }

    // mergekit leaves out the base model with its weight, which would count in a normalized sum
    [TestCase("task_arithmetic")]
    [TestCase("ties")]
    public void TheBaseModelAmongTheModelsHasNoWeight(string method)
    {
        foreach (string weight in (string[])["", ", parameters: {weight: 3}"])
        {
            string config = _place.Write($"{weight.Length}.yml", $$"""
                merge_method: {{method}}
                base_model: {{_place.Global}}
                models: [{model: {{_place.Global}}{{weight}} }, {model: {{_place.A}}, parameters: {weight: 1} }]
                parameters: {normalize: true}
                """);
            Tool.Run("merge", "--config", config, "--output", _place[$"{weight.Length}.safetensors"]).Succeeded();
        }

        string[] outputs = [.. Directory.GetFiles(_place[""], "*.yml").Select(config => Path.ChangeExtension(config, "safetensors"))];
        Assert.That(outputs, Has.Length.EqualTo(2));
        Assert.That(Place.Digest(outputs[1]), Is.EqualTo(Place.Digest(outputs[0])));
    }

    [Test]
    public void SlerpGoesFromTheBaseModelToTheOther()
    {
        string config = _place["slerp.yml"];
        File.WriteAllText(config, $"""
            merge_method: slerp
            base_model: {_place.A}
            models: [model: {_place.A}, model: {_place.B}]
            parameters: {"{t: 0}"}
            dtype: float32
            """);
        Tool.Run("merge", "--config", config, "--output", _place["merged.safetensors"]).Succeeded();
        using TensorSource merged = TensorSource.Open(_place["merged.safetensors"]), a = TensorSource.Open(_place.A);
        foreach (string name in (string[])[Place.Weight, Place.Bias])
            Assert.That(Place.Data(merged, merged.Find(name)!), Is.EqualTo(Place.Data(a, a.Find(name)!)));
    }

    [Test]
    public void TheBaseModelsFilesGoAlong()
    {
        string folder = _place["base"], output = _place["merged"];
        Directory.CreateDirectory(folder);
        File.Copy(_place.Global, Path.Combine(folder, "model.safetensors"));
        foreach (string name in (string[])["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "README.md"])
            File.WriteAllText(Path.Combine(folder, name), $"of {name}");
        Run run = Tool.Run(
            "merge", "--method", "task-arithmetic", "--base", folder, "--model", _place.A, "--model", _place.B,
            "--output", output).Succeeded();
        Assert.That(
            Directory.GetFiles(output).Select(Path.GetFileName),
            Is.EquivalentTo((string[])
                ["model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"]));
        Assert.That(File.ReadAllText(Path.Combine(output, "config.json")), Is.EqualTo("of config.json"));
        Assert.That(run.Output, Does.Contain("copied from the base model: config.json, generation_config.json"));
    }

    [TestCase("torch_dtype"), TestCase("dtype")]
    public void TheCopiedConfigurationNamesTheNewType(string field)
    {
        string folder = _place["base"], output = _place["merged"];
        Directory.CreateDirectory(folder);
        File.Copy(_place.Global, Path.Combine(folder, "model.safetensors"));
        File.WriteAllText(
            Path.Combine(folder, "config.json"),
            $$"""{ "{{field}}": "float32", "hidden_size": 8, "text_config": { "{{field}}": "float32" } }""");
        Tool.Run(
            "merge", "--method", "task-arithmetic", "--base", folder, "--model", _place.A, "--dtype", "bf16", "--output", output)
            .Succeeded();
        JsonNode config = JsonNode.Parse(File.ReadAllText(Path.Combine(output, "config.json")))!;
        var expected = new JsonObject
        {
            [field] = "bfloat16",
            ["hidden_size"] = 8,
            ["text_config"] = new JsonObject { [field] = "bfloat16" },
        };
        Assert.That(JsonNode.DeepEquals(config, expected), Is.True, config.ToJsonString());
    }

    private static IEnumerable<TestCaseData> Refused =>
    [
        Of(1, "density is 1.5; a number above 0 and at most 1 was expected", "--method", "ties", "--set", "density=1.5", "A", "B"),
        Of(
            1, "density is 0; a number above 0 and at most 1 was expected",
            "--method", "dare", "--set", "density=0", "--set", "seed=1", "A", "B"),
        Of(1, "density is -0.2; a number above 0 and at most 1 was expected", "--method", "breadcrumbs", "--set", "density=-0.2", "A", "B"),
        Of(1, "gamma is 1; a number", "--method", "breadcrumbs", "--set", "gamma=1", "A", "B"),
        Of(1, "'slerp' interpolates two clients, and 3 clients", "--method", "slerp", "A", "B", "C"),
        Of(1, "'slerp' interpolates two clients, and 1 client", "--method", "slerp", "A"),
        Of(1, "seed is missing", "--method", "dare", "A", "B"),
        Of(1, "'ema' keeps a state between rounds", "--method", "ema", "A", "B"),
        Of(1, "The weight of", "--method", "ties", "A", "--weight", "-1"),
        Of(2, "'--weight 2' follows no '--model'", "--method", "ties", "A", "--weight", "1", "--weight", "2"),
        Of(2, "The option '--method' is required", "A", "B"),
        Of(2, "'--model' or '--config' is required", "--method", "ties"),
        Of(2, "The strategy 'tiess' is unknown", "--method", "tiess", "A"),
    ];

    [TestCaseSource(nameof(Refused))]
    public void ALineIsRefused(int code, string sentence, string[] words)
    {
        string[] models = ["A", "B", "C"];
        Run run = Tool.Run([
            "merge", "--base", _place.Global, "--output", _place["merged.safetensors"],
            .. words.SelectMany(word => models.Contains(word) ? new[] { "--model", Model(word) } : [word])]);
        Assert.That((run.Code, run.Error), Is.EqualTo((code, run.Error)));
        Assert.That(run.Error, Does.Contain(sentence));
        Assert.That(File.Exists(_place["merged.safetensors"]), Is.False);
    }

    [TestCase("merge_method: karcher", "merge_method is 'karcher'; linear, task_arithmetic, ties")]
    [TestCase("merge_method: ties\nslices: []", "'slices' of the configuration is not supported")]
    [TestCase("merge_method: ties\nmodels: []", "'models' is no list of models")]
    [TestCase("merge_method: [ties", "is no YAML: line")]
    [TestCase("merge_method: ties\nmodels: [{model: a}]", "base_model is missing; 'ties' needs it")]
    [TestCase("merge_method: ties\nbase_model: g\nmodels: [{model: a}]", "the model 'a' has no weight")]
    [TestCase("merge_method: ties\nbase_model: g\nmodels: [{model: a, parameters: {weight: [0, 1]}}]", "'weight' has several values")]
    [TestCase("merge_method: ties\nbase_model: g\nmodels: [{model: a, parameters: {weight: -1}}]", "a weight is '-1'")]
    [TestCase(
        "merge_method: ties\nbase_model: g\nmodels: [{model: a, parameters: {weight: 1, density: 1}}, {model: b, parameters: {weight: 1}}]",
        "the models have several values of 'density'")]
    [TestCase("merge_method: ties\nbase_model: g\nmodels: [{model: a, parameters: {weight: 1, epsilon: 1}}]", "the parameter 'epsilon'")]
    [TestCase("merge_method: ties\nbase_model: g\nmodels: [{model: g}]", "'ties' has no model beside base_model")]
    [TestCase("merge_method: slerp\nbase_model: g\nmodels: [{model: g}]", "'slerp' has 0 models beside base_model")]
    [TestCase("merge_method: ties\nbase_model: g\ndtype: int8\nmodels: [{model: a, parameters: {weight: 1}}]", "dtype is 'int8'")]
    public void AConfigurationIsRefused(string text, string sentence)
    {
        string config = _place["mergekit.yml"];
        File.WriteAllText(config, text);
        Run run = Tool.Run("merge", "--config", config, "--output", _place["merged.safetensors"]);
        Assert.That(run.Code, Is.EqualTo(1));
        Assert.That(run.Error, Does.Contain(sentence));
        Assert.That(File.Exists(_place["merged.safetensors"]), Is.False);
    }

    [TestCase("--weight", "0.25")]
    [TestCase("--method", "ties")]
    [TestCase("--model", "a")]
    public void AConfigurationLeavesNothingToOtherOptions(string option, string value)
    {
        Run run = Tool.Run(
            "merge", "--config", Config("ties", ""), option, value, "--output", _place["merged.safetensors"]);
        Assert.That(run.Code, Is.EqualTo(2));
        Assert.That(run.Error, Does.Contain($"'--config' was given with '{option}'"));
    }

    [Test]
    public void ABaseOfAnotherModelIsRefused()
    {
        string other = _place.Write("other.safetensors", new MemoryModel { { "another.weight", [2], new float[] { 1, 2 } } });
        Run run = Tool.Run("merge", "--method", "ties", "--base", other, "--model", _place.A, "--output", _place["merged.safetensors"]);
        Assert.That(run.Code, Is.EqualTo(1));
        foreach (string word in (string[])[_place.A, "another.weight"])
            Assert.That(run.Error, Does.Contain(word));
        Assert.That(File.Exists(_place["merged.safetensors"]), Is.False);
    }

    private static TestCaseData Of(int code, string sentence, params string[] words) =>
        new TestCaseData(code, sentence, words).SetArgDisplayNames(sentence);

    private string Model(string name) => name switch { "A" => _place.A, "B" => _place.B, _ => _place.C };

    private void Merge(string method, string output, params string[] more) => Tool.Run([
        "merge", "--method", method, "--base", _place.Global, "--model", _place.A, "--weight", "0.75", "--model", _place.B, "--weight=0.25",
        "--output", _place[output], .. more]).Succeeded();

    private void Aggregate(string strategy, string output, string weights, params string[] options) => Tool.Run([
        "aggregate", "--strategy", strategy, "--global", _place.Global, "--client", $"1={_place.A}", "--client", $"2={_place.B}",
        "--weights", weights, "--output", _place[output], .. options.SelectMany(option => new[] { "--set", option })]).Succeeded();

    private string Config(string method, string parameters)
    {
        string path = _place["mergekit.yml"];
        File.WriteAllText(path, $"""
            merge_method: {method}
            base_model: {_place.Global}
            models:
              {(method == "linear" ? "" : $"- model: {_place.Global}")}
              - model: {_place.A}
                parameters:
                  weight: 0.75
              - model: {_place.B}
                parameters:
                  weight: 0.25
            {parameters}
            """);
        return path;
    }
}
