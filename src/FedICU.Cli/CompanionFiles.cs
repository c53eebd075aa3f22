using System.Text.Json;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>The files beside a model that loaders need: its configuration, tokenizer and generation settings.</summary>
internal static class CompanionFiles
{
    // as the common libraries name them
    private static readonly string[] Patterns =
    [
        ModelConfig.FileName, "generation_config.json", "*tokenizer*", "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt",
        "merges.txt", "spiece.model", "sentencepiece*.model", "*.tiktoken", "chat_template.*", "preprocessor_config.json",
        "processor_config.json",
    ];

    /// <summary>Copies the files from the folder of a model to another.</summary>
    /// <param name="model">The model: a folder, or a file in one.</param>
    /// <param name="output">The folder of the new model.</param>
    /// <param name="dtype">The type of the new model, if its configuration must name another; otherwise null.</param>
    /// <returns>The names of the files.</returns>
    public static IReadOnlyList<string> Copy(string model, string output, DType? dtype)
    {
        string folder = Directory.Exists(model) ? model : Path.GetDirectoryName(Path.GetFullPath(model))!;
        string[] names =
        [
            .. Patterns.SelectMany(pattern => Directory.EnumerateFiles(folder, pattern)).Select(path => Path.GetFileName(path))
                .Where(name => !name.StartsWith('.')).Distinct().Order(StringComparer.Ordinal),
        ];
        foreach (string name in names)
        {
            string target = Path.Combine(output, name), staged = Path.Combine(output, $".{name}.fedicu-copy");
            try
            {
                if (name == ModelConfig.FileName && dtype is { } type)
                    File.WriteAllText(staged, ModelConfig.SetType(File.ReadAllText(Path.Combine(folder, name)), type));
                else
                    File.Copy(Path.Combine(folder, name), staged, overwrite: true);
                File.Move(staged, target, overwrite: true);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
            {
                throw new RefusedException(
                    $"The model was written, but '{name}' could not be copied to '{output}': {FileFailure.Describe(e)}.");
            }
        }

        return names;
    }
}
