using System.CommandLine;
using System.CommandLine.Parsing;

namespace FedICU.Cli;

/// <summary>The options that describe a merge, or name the file that does.</summary>
internal sealed class MergeLine
{
    private readonly Option<string?> _method = Flags.Optional(
        "--method", "NAME", "The strategy, such as ties, dare, breadcrumbs, task-arithmetic or slerp; see 'fedicu strategies'.");
    private readonly Option<string?> _base = Flags.Optional(
        "--base", "MODEL", "The model that the others were made from. Its configuration and tokenizer files go along.");
    private readonly Option<string[]> _models = new("--model")
    {
        HelpName = "MODEL",
        Description = "A model to merge; repeat the option for each model.",
    };

    private readonly Option<string[]> _weights = new("--weight")
    {
        HelpName = "NUMBER",
        Description = "The weight of the model before it. Default: 1.",
    };

    private readonly Option<string?> _config = Flags.Optional(
        "--config", "FILE", "A mergekit configuration in YAML, instead of --method, --base, --model and --weight.");
    private readonly Option<string[]> _settings = Flags.Settings("those of 'fedicu strategies NAME'");
    private readonly Option<string?> _dtype =
        Flags.Optional("--dtype", "TYPE", "The output's type: f32, f16, bf16 or f64. Default: the base model's.");

    public void AddTo(Command command)
    {
        foreach (Option option in (ReadOnlySpan<Option>)[_method, _base, _models, _weights, _config, _settings, _dtype])
            command.Add(option);
    }

    /// <summary>Reads the merge. Opens no model.</summary>
    public MergePlan Read(ParseResult line)
    {
        List<KeyValuePair<string, string>> settings = Flags.ReadSettings(line.GetValue(_settings));
        DType? dtype = Flags.ReadDType(line.GetValue(_dtype));
        if (line.GetValue(_config) is { } config)
        {
            Option? other = new Option[] { _method, _base, _models, _weights }.FirstOrDefault(option => line.GetResult(option) is not null);
            if (other is not null)
                throw new UsageException($"'--config' was given with '{other.Name}'; one or the other was expected.");
            MergePlan plan = MergeConfig.Read(Paths.Read("--config", config));
            // a setting on the line replaces the configuration's
            return plan with
            {
                DType = dtype ?? plan.DType,
                Settings = [.. plan.Settings.Where(own => settings.All(given => given.Key != own.Key)), .. settings],
            };
        }

        List<(string, double)> models = PairWeights(line);
        return new MergePlan(Require(line, _method), Require(line, _base), models, settings, dtype);
    }

    private static string Require(ParseResult line, Option<string?> option) => line.GetValue(option) ??
        throw new UsageException(
            $"The option '{option.Name}' is required by 'fedicu merge' without '--config'; see 'fedicu merge --help'.");

    /// <summary>Gives each model the weight that follows it on the line.</summary>
    private List<(string Path, double Weight)> PairWeights(ParseResult line)
    {
        var models = new List<(string Path, double Weight)>();
        bool hasWeight = true;
        string option = "";
        foreach (Token token in line.Tokens)
        {
            if (token.Type == TokenType.Option)
            {
                option = token.Value;
            }
            else if (option == _models.Name)
            {
                models.Add((Paths.Read(_models.Name, token.Value), 1));
                hasWeight = false;
            }
            else if (option == _weights.Name)
            {
                if (hasWeight)
                    throw new UsageException($"'--weight {token.Value}' follows no '--model'; each model has at most one weight after it.");
                models[^1] = (models[^1].Path, MergePlan.ReadWeight(
                    token.Value, fault => new RefusedException($"The weight of '{models[^1].Path}' {fault}.")));
                hasWeight = true;
            }
        }

        return models.Count > 0
            ? models
            : throw new UsageException("'--model' or '--config' is required by 'fedicu merge'; see 'fedicu merge --help'.");
    }
}
