using System.Text.Json;
using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.Cli;

/// <summary>
/// The files beside a model's weights that loaders need: configurations, tokenizer, processors and chat template. They
/// are found and checked before a model is written, and copied after it.
/// </summary>
internal sealed class CompanionFiles
{
    // bytes that are copied at a time; chosen
    private const int PieceBytes = 1 << 20;

    // as the common libraries name them; docs/command-line.md has the list
    private static readonly string[] Patterns =
    [
        ModelConfig.FileName, "generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json", "vocab.txt", "merges.txt", "tekken.json", "*.model", "tokenizer.model.*", "*.tiktoken", "chat_template.*",
        "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json",
    ];

    private readonly string _from, _to;
    private readonly string[] _names;
    private readonly OutputOptions _options;
    private readonly ModelConfig? _config;
    private readonly bool _setsType;

    private CompanionFiles(string from, string to, string[] names, OutputOptions options, ModelConfig? config, bool setsType) =>
        (_from, _to, _names, _options, _config, _setsType) = (from, to, names, options, config, setsType);

    /// <summary>Finds the files of a model's folder and checks that they can be copied.</summary>
    /// <param name="option">The model's option, for messages.</param>
    /// <param name="model">
    /// The model. Files are found beside a folder's model: its folder, its index or its model.safetensors.
    /// </param>
    /// <param name="output">The new model. Only a folder gets the files, and not the model's own folder.</param>
    /// <param name="options">How existing files are replaced.</param>
    /// <param name="dtype">The type of the new model, if its configuration must name another; otherwise null.</param>
    /// <param name="mayUntie">Whether <see cref="Copy"/> may have to write that the head is not tied.</param>
    /// <exception cref="RefusedException">A file cannot be read or written.</exception>
    public static CompanionFiles Find(
        string option, string model, string output, OutputOptions options, DType? dtype, bool mayUntie = false)
    {
        string from = Directory.Exists(model) ? model : Path.GetDirectoryName(Path.GetFullPath(model))!;
        string file = Path.GetFileName(model);
        bool isOfFolder = Directory.Exists(model) || file == ModelFolder.SingleFile || ModelFolder.IsIndex(file);
        if (Paths.IsFile(output) || !isOfFolder || Paths.Same(from, output))
            return new CompanionFiles(from, output, [], options, null, setsType: false);
        string place = from;
        try
        {
            string[] names =
            [
                .. Patterns.SelectMany(pattern => Directory.EnumerateFiles(from, pattern)).Select(path => Path.GetFileName(path))
                    .Where(name => !name.StartsWith('.')).Distinct().Order(StringComparer.Ordinal),
            ];
            ModelConfig? config = null;
            foreach (string name in names)
            {
                place = Path.Combine(from, name);
                using FileStream stream = File.OpenRead(place);
                if (name == ModelConfig.FileName && (mayUntie || dtype is not null))
                    config = ModelConfig.Parse(stream);
                if (Directory.Exists(output))
                    StagedFile.CheckPlace(Path.Combine(output, name), options.FollowLinks);
            }

            if (dtype is { } type)
                config?.SetType(type);
            return new CompanionFiles(from, output, names, options, config, setsType: dtype is not null);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new RefusedException($"{option}: '{place}' is no valid JSON object, so that no loader can read the new model.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new RefusedException($"{option}: '{place}' cannot be read: {FileFailure.Describe(e)}.");
        }
    }

    /// <summary>Copies the files, all or none. Called once the model is written.</summary>
    /// <param name="unties">Whether the head is no longer tied to the embedding.</param>
    /// <returns>The names of the files.</returns>
    public IReadOnlyList<string> Copy(bool unties = false)
    {
        var staged = new List<StagedFile>();
        try
        {
            foreach (string name in _names)
                staged.Add(Stage(name, unties));
            staged.ForEach(file => file.Publish());
            return _names;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or FedIcuException)
        {
            string fault = e is FedIcuException ? e.Message : FileFailure.Describe(e) + ".";
            throw new RefusedException($"The model was written to '{_to}', but not the files that go along from '{_from}': {fault}");
        }
        finally
        {
            staged.ForEach(file => file.Discard());
        }
    }

    private StagedFile Stage(string name, bool unties)
    {
        using Stream source = name == ModelConfig.FileName && ReadConfig(unties) is { } config
            ? new MemoryStream(config) : File.OpenRead(Path.Combine(_from, name));
        StagedFile file = StagedFile.Beside(Path.Combine(_to, name), source.Length, _options);
        try
        {
            byte[] piece = new byte[PieceBytes];
            long written = 0;
            for (int read; (read = source.Read(piece)) > 0; written += read)
                file.Write(piece.AsSpan(0, read), written);
            file.Seal();
            return file;
        }
        catch
        {
            file.Discard();
            throw;
        }
    }

    /// <summary>Returns the changed configuration; null if nothing changes.</summary>
    private byte[]? ReadConfig(bool unties)
    {
        if (unties)
            _config?.Untie();
        return unties || _setsType ? _config?.ToBytes() : null;
    }
}
