using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace FedICU.Cli;

/// <summary>
/// Reads a mergekit configuration, as far as its method is one of ours. What it says otherwise is refused by name.
/// </summary>
internal sealed class MergeConfig
{
    // mergekit's methods: our strategy, the options that give mergekit's result, and whether weights are normalized by
    // default
    private static readonly Dictionary<string, (string Strategy, string[] Settings, bool Normalizes)> Methods = new(StringComparer.Ordinal)
    {
        ["linear"] = ("fedavg", [], true),
        ["task_arithmetic"] = ("task-arithmetic", [], false),
        ["ties"] = ("ties", [], true),
        ["dare_linear"] = ("dare", ["rescale=l1"], false),
        ["dare_ties"] = ("dare", ["rescale=l1", "merge=ties"], false),
        ["breadcrumbs"] = ("breadcrumbs", [], false),
        ["slerp"] = ("slerp", [], true),
    };

    private readonly string _path;
    private readonly Dictionary<string, YamlNode> _top;

    private MergeConfig(string path, YamlNode root)
    {
        _path = path;
        _top = ReadMap(root, "the configuration", ["merge_method", "base_model", "models", "parameters", "dtype", "out_dtype",
            "tokenizer_source"]);
    }

    /// <summary>Reads a file.</summary>
    /// <exception cref="RefusedException">The file cannot be read, or asks for what is not possible.</exception>
    public static MergePlan Read(string path)
    {
        try
        {
            using StreamReader reader = File.OpenText(path);
            var stream = new YamlStream();
            stream.Load(reader);
            if (stream.Documents.Count != 1)
                throw new RefusedException($"--config '{path}' has {Text.Count(stream.Documents.Count, "document")}; one was expected.");
            return new MergeConfig(path, stream.Documents[0].RootNode).Read();
        }
        catch (YamlException e)
        {
            throw new RefusedException($"--config '{path}' is no YAML: line {e.Start.Line}: {e.InnerException?.Message ?? e.Message}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"--config '{path}' cannot be read: {Files.FileFailure.Describe(e)}.");
        }
    }

    private MergePlan Read()
    {
        string name = ReadText(Require("merge_method"), "merge_method");
        if (!Methods.TryGetValue(name, out (string Strategy, string[] Settings, bool Normalizes) method))
            throw Refuse($"merge_method is '{name}'; {string.Join(", ", Methods.Keys)} are known");
        if (_top.TryGetValue("tokenizer_source", out YamlNode? tokenizer) && ReadText(tokenizer, "tokenizer_source") != "base")
            throw Refuse("tokenizer_source is not 'base'; the tokenizer of the base model is kept");
        List<(string Path, double? Weight, Dictionary<string, string> Parameters)> models = ReadModels();
        string? given = _top.TryGetValue("base_model", out YamlNode? node) ? ReadText(node, "base_model") : null;
        if (given is null && name != "linear")
            throw Refuse($"base_model is missing; '{name}' needs it");
        Dictionary<string, string> shared = _top.TryGetValue("parameters", out YamlNode? parameters)
            ? ReadParameters(parameters, "parameters") : [];
        string basis = given ?? models[0].Path;
        if (name == "slerp")
            models = OrderForSlerp(models, basis);
        // the base model's update is zero: mergekit leaves it out, with its weight
        else if (name != "linear" && models.RemoveAll(model => model.Path == basis) > 0 && models.Count == 0)
            throw Refuse($"'{name}' has no model beside base_model; at least one was expected");
        var settings = method.Settings.Select(Split).ToList();
        ReadMethodParameters(name, method, settings, Join(models.Select(model => model.Parameters), shared));
        return new MergePlan(
            method.Strategy, basis,
            [
                .. models.Select(model => (
                    model.Path, model.Weight ?? ReadSharedWeight(shared) ?? (name == "slerp" ? 1 : throw NoWeight(model.Path)))),
            ],
            settings, ReadDType());
    }

    private static KeyValuePair<string, string> Split(string setting) => new(setting.Split('=')[0], setting.Split('=')[1]);

    private RefusedException NoWeight(string model) => Refuse($"the model '{model}' has no weight; a number was expected");

    private double? ReadSharedWeight(Dictionary<string, string> shared) =>
        shared.TryGetValue("weight", out string? weight) ? ReadWeight(weight) : null;

    /// <summary>Turns the parameters of a method into the options that give mergekit's result.</summary>
    private void ReadMethodParameters(
        string name, (string Strategy, string[] Settings, bool Normalizes) method, List<KeyValuePair<string, string>> settings,
        Dictionary<string, string> parameters)
    {
        bool normalizes = method.Normalizes;
        // mergekit keeps every entry without a density
        string density = "1";
        foreach ((string parameter, string value) in parameters)
        {
            switch (parameter)
            {
                case "weight" or "int8_mask": break;
                case "normalize": normalizes = ReadFlag(parameter, value); break;
                case "lambda" when name is not ("linear" or "slerp"): settings.Add(new("scale", value)); break;
                case "density" when method.Strategy is "ties" or "dare" or "breadcrumbs": density = value; break;
                case "gamma" when method.Strategy is "breadcrumbs": settings.Add(new("gamma", value)); break;
                case "t" when name == "slerp": settings.Add(new("t", value)); break;
                case "rescale" when method.Strategy is "dare":
                    if (!ReadFlag(parameter, value))
                        settings[settings.FindIndex(setting => setting.Key == "rescale")] = new("rescale", "none");
                    break;
                default: throw Refuse($"the parameter '{parameter}' of '{name}' is not supported");
            }
        }

        if (name == "slerp" && !parameters.ContainsKey("t"))
            throw Refuse("the parameter 't' is missing; a number from 0 to 1 was expected");
        if (method.Strategy is "ties" or "dare" or "breadcrumbs")
            settings.Add(new("density", density));
        if (name == "linear" && !normalizes)
            throw Refuse("the parameter 'normalize' is false; 'linear' divides by the sum of the weights here");
        if (name is "linear" or "slerp")
            return;
        // without normalization the weighted updates are added up
        settings.Add(new("weighting", normalizes ? "share" : "raw"));
        if (name is "ties" or "dare_ties")
            settings.Add(new("disjoint", normalizes ? "mean" : "sum"));
    }

    /// <summary>
    /// Joins the parameters of all models and the shared ones. Our rules have one value for all models.
    /// </summary>
    private Dictionary<string, string> Join(IEnumerable<Dictionary<string, string>> ofModels, Dictionary<string, string> shared)
    {
        var joined = new Dictionary<string, string>(shared, StringComparer.Ordinal);
        Dictionary<string, string>[] models = [.. ofModels];
        foreach (string parameter in models.SelectMany(model => model.Keys).Distinct())
        {
            string[] values = [.. models.Select(model => model.GetValueOrDefault(parameter) ?? shared.GetValueOrDefault(parameter) ?? "")];
            if (values.Distinct().Count() > 1)
                throw Refuse($"the models have several values of '{parameter}'; one value for all of them was expected");
            joined[parameter] = values[0];
        }

        return joined;
    }

    private List<(string Path, double? Weight, Dictionary<string, string> Parameters)> ReadModels()
    {
        if (Require("models") is not YamlSequenceNode { Children.Count: > 0 } list)
            throw Refuse("'models' is no list of models; a list with a 'model' in each entry was expected");
        var models = new List<(string, double?, Dictionary<string, string>)>();
        foreach (YamlNode entry in list.Children)
        {
            Dictionary<string, YamlNode> model = ReadMap(entry, "an entry of 'models'", ["model", "parameters"]);
            if (!model.TryGetValue("model", out YamlNode? path))
                throw Refuse("an entry of 'models' has no 'model'; a path was expected");
            Dictionary<string, string> parameters = model.TryGetValue("parameters", out YamlNode? given)
                ? ReadParameters(given, "parameters") : [];
            double? weight = parameters.Remove("weight", out string? text) ? ReadWeight(text) : null;
            models.Add((ReadText(path, "model"), weight, parameters));
        }

        return models;
    }

    /// <summary>Slerp goes from the base model to the other one.</summary>
    private List<(string Path, double? Weight, Dictionary<string, string> Parameters)> OrderForSlerp(
        List<(string Path, double? Weight, Dictionary<string, string> Parameters)> models, string basis)
    {
        var others = models.Where(model => model.Path != basis).ToList();
        if (others.Count != 1)
            throw Refuse($"'slerp' has {Text.Count(others.Count, "model")} beside base_model; one was expected");
        return [(basis, null, []), others[0]];
    }

    private DType? ReadDType()
    {
        string? key = _top.ContainsKey("out_dtype") ? "out_dtype" : _top.ContainsKey("dtype") ? "dtype" : null;
        if (key is null)
            return null;
        return ReadText(_top[key], key) switch
        {
            "float32" => DType.F32,
            "float16" => DType.F16,
            "bfloat16" => DType.BF16,
            "float64" => DType.F64,
            var other => throw Refuse($"{key} is '{other}'; float32, float16, bfloat16 or float64 was expected"),
        };
    }

    private double ReadWeight(string text) => MergePlan.ReadWeight(text, fault => Refuse($"a weight {fault}"));

    private bool ReadFlag(string name, string text) => text.ToUpperInvariant() switch
    {
        "TRUE" or "YES" or "ON" or "1" or "1.0" => true,
        "FALSE" or "NO" or "OFF" or "0" or "0.0" => false,
        _ => throw Refuse($"the parameter '{name}' is '{text}'; true or false was expected"),
    };

    private Dictionary<string, string> ReadParameters(YamlNode node, string what) =>
        ReadMap(node, what, null).ToDictionary(pair => pair.Key, pair => ReadText(pair.Value, pair.Key), StringComparer.Ordinal);

    private string ReadText(YamlNode node, string name) => node is YamlScalarNode { Value: { Length: > 0 } value }
        ? value
        : throw Refuse($"'{name}' has several values or none; one value was expected");

    private YamlNode Require(string key) => _top.TryGetValue(key, out YamlNode? node)
        ? node
        : throw Refuse($"'{key}' is missing");

    private Dictionary<string, YamlNode> ReadMap(YamlNode node, string what, string[]? known)
    {
        if (node is not YamlMappingNode map)
            throw Refuse($"{what} is no mapping of names to values");
        var values = new Dictionary<string, YamlNode>(StringComparer.Ordinal);
        foreach ((YamlNode key, YamlNode value) in map.Children)
        {
            string name = (key as YamlScalarNode)?.Value ?? "";
            if (known is not null && !known.Contains(name))
                throw Refuse($"'{name}' of {what} is not supported; {string.Join(", ", known)} are known");
            values[name] = value;
        }

        return values;
    }

    private RefusedException Refuse(string fault) => new($"--config '{_path}': {fault}.");
}
