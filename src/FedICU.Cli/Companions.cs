using System.Text.Json;
using FedICU.Files;

namespace FedICU.Cli;

/// <summary>
/// The files beside a model's weights that loaders need: configuration, tokenizer, generation settings.
/// </summary>
internal static class Companions
{
    private static readonly string[] Endings = [".json", ".txt", ".model", ".jinja", ".tiktoken", ".py"];

    /// <summary>Copies the files of one model's folder to another's.</summary>
    /// <param name="model">The model: its folder, or a file in it.</param>
    /// <param name="folder">The folder that receives the files; other files of their names are replaced.</param>
    /// <param name="unties">Whether the head is no longer tied to the embedding.</param>
    /// <returns>The files' names.</returns>
    public static IReadOnlyList<string> Copy(string model, string folder, bool unties)
    {
        string? from = Directory.Exists(model) ? model : Path.GetDirectoryName(Path.GetFullPath(model));
        // a model in a file of its own may lie among anything
        if (from is null || !Directory.Exists(model) && !model.EndsWith(".index.json", StringComparison.Ordinal))
            return [];
        string[] names =
        [
            .. Directory.EnumerateFiles(from).Select(path => Path.GetFileName(path)!).Where(IsCompanion).Order(StringComparer.Ordinal),
        ];
        try
        {
            foreach (string name in names)
            {
                string target = Path.Combine(folder, name);
                if (name == ModelConfig.FileName && unties)
                    File.WriteAllText(target, ModelConfig.Untie(File.ReadAllText(Path.Combine(from, name))));
                else
                    File.Copy(Path.Combine(from, name), target, overwrite: true);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException)
        {
            throw new RefusedException($"The model was written to '{folder}', but not all files beside it: {FileFailure.Describe(e)}.");
        }

        return names;
    }

    private static bool IsCompanion(string name) =>
        Array.Exists(Endings, ending => name.EndsWith(ending, StringComparison.Ordinal)) &&
        !name.EndsWith(".index.json", StringComparison.Ordinal) && name is not (ModelFolder.AdapterConfig or "README.md") &&
        !name.StartsWith('.');
}
