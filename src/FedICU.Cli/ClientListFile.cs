using System.Text.Json;
using System.Text.Unicode;
using FedICU.Files;
using FedICU.Text;

namespace FedICU.Cli;

/// <summary>Reads a JSON file of <c>--clients</c> (docs/command-line.md).</summary>
internal sealed class ClientListFile(string path)
{
    // bytes; chosen: far more than a million clients take
    private const int MaxLength = 1 << 30;

    private static readonly string[] ListKeys = ["clients"];

    private static readonly string[] ClientKeys =
    [
        "id", "path", "weight", "kind", "base", MetadataKeys.LocalSteps, MetadataKeys.Loss, MetadataKeys.Staleness, MetadataKeys.Normalizer,
        "control",
    ];

    private readonly string _folder = Path.GetDirectoryName(path) ?? "";

    /// <summary>Reads the clients in the order of the file.</summary>
    /// <exception cref="RefusedException">
    /// The text is malformed; the message names the file, the client and the key.
    /// </exception>
    /// <exception cref="InvalidModelException">The file cannot be read.</exception>
    public List<ClientEntry> Read()
    {
        byte[] text = ModelFile.ReadAll(path, MaxLength);
        if (!Utf8.IsValid(text))
            throw Refuse("the text is not valid UTF-8.");
        try
        {
            using var document = JsonDocument.Parse(text);
            return Read(document.RootElement);
        }
        catch (JsonException e)
        {
            throw Refuse($"the text is not valid JSON at line {e.LineNumber + 1}, byte {e.BytePositionInLine + 1}.");
        }
        catch (InvalidOperationException)
        {
            // the strings' escapes are checked only where a string is requested
            throw Refuse("a string is not valid Unicode.");
        }
    }

    private List<ClientEntry> Read(JsonElement list)
    {
        if (!ReadKeys(list, "the list", ListKeys).TryGetValue("clients", out JsonElement clients))
            throw Refuse("the list has no clients.");
        if (clients.ValueKind != JsonValueKind.Array)
            throw Refuse($"the list has {Sentence.Kind(clients.ValueKind)} for clients; an array was expected.");
        if (clients.GetArrayLength() == 0)
            throw Refuse("the list of clients is empty.");
        return [.. clients.EnumerateArray().Select((client, index) => ReadClient(client, index + 1))];
    }

    private ClientEntry ReadClient(JsonElement client, int number)
    {
        string name = NameClient(client, number);
        Dictionary<string, JsonElement> values = ReadKeys(client, name, ClientKeys);
        string own = ReadText("path") ?? throw Refuse($"{name} has no path.");
        return new ClientEntry(ReadText("id") ?? own, Path.Combine(_folder, own))
        {
            Weight = ReadNumber("weight"),
            Kind = ReadText("kind") is { } kind ? ParseKind(kind) : null,
            BaseDigest = ReadText("base"),
            Statements = new ClientStatements
            {
                LocalSteps = ReadNumber(MetadataKeys.LocalSteps),
                Loss = ReadNumber(MetadataKeys.Loss),
                Staleness = ReadNumber(MetadataKeys.Staleness),
                Normalizer = ReadNumber(MetadataKeys.Normalizer),
                Control = ReadText("control") is { } control ? Path.Combine(_folder, control) : null,
            },
        };

        string? ReadText(string key)
        {
            if (!values.TryGetValue(key, out JsonElement value))
                return null;
            if (value.ValueKind != JsonValueKind.String)
                throw Refuse($"{name} has {Sentence.Kind(value.ValueKind)} for {key}; a string was expected.");
            string text = value.GetString()!;
            return text.Length > 0 && !text.Contains('\0')
                ? text
                : throw Refuse($"{name} has {Sentence.Quote(text)} for {key}; a text without zero characters, not empty, was expected.");
        }

        double? ReadNumber(string key)
        {
            if (!values.TryGetValue(key, out JsonElement value))
                return null;
            if (value.ValueKind != JsonValueKind.Number)
                throw Refuse($"{name} has {Sentence.Kind(value.ValueKind)} for {key}; a number was expected.");
            return value.TryGetDouble(out double result) && double.IsFinite(result)
                ? result
                : throw Refuse($"{name} has {Sentence.Quote(value.GetRawText())} for {key}; a finite number was expected.");
        }

        UpdateKind ParseKind(string text) => MetadataKeys.ParseKind(text)
            ?? throw Refuse($"{name} has {Sentence.Quote(text)} for kind; full, delta or sparse was expected.");
    }

    /// <summary>Names a client in messages: by its id, else by its path, else by its number from 1.</summary>
    private static string NameClient(JsonElement client, int number)
    {
        foreach (string key in (ReadOnlySpan<string>)["id", "path"])
        {
            if (client.ValueKind == JsonValueKind.Object && client.TryGetProperty(key, out JsonElement value) &&
                value.ValueKind == JsonValueKind.String)
                return $"client {Sentence.Quote(value.GetString()!)}";
        }

        return $"client number {number}";
    }

    private Dictionary<string, JsonElement> ReadKeys(JsonElement element, string name, string[] known)
    {
        if (element.ValueKind != JsonValueKind.Object)
            throw Refuse($"{name} is {Sentence.Kind(element.ValueKind)}; an object was expected.");
        var values = new Dictionary<string, JsonElement>(StringComparer.Ordinal);
        foreach (JsonProperty property in element.EnumerateObject())
        {
            string key = property.Name;
            if (!known.Contains(key))
                throw Refuse($"{name} has the key {Sentence.Quote(key)}, which is unknown; {string.Join(", ", known)} was expected.");
            if (!values.TryAdd(key, property.Value))
                throw Refuse($"{name} has the key {Sentence.Quote(key)} twice.");
        }

        return values;
    }

    private RefusedException Refuse(string reason) => new($"--clients '{path}': {reason}");
}
