using System.Text.Json;
using FedICU.Text;

namespace FedICU.Interop;

/// <summary>The JSON of fedicu_set_statements.</summary>
/// <param name="Texts">The stated values as texts, by their metadata keys. The round reads them as numbers.</param>
/// <param name="Control">The path of the client's control variates; null if there is none.</param>
internal sealed record ClientStatementTexts(IReadOnlyDictionary<string, string> Texts, string? Control)
{
    // the key of the control variates' path
    private const string ControlKey = "control";

    // as MetadataKeys has them
    private static readonly string[] Known =
        [MetadataKeys.LocalSteps, MetadataKeys.Loss, MetadataKeys.Staleness, MetadataKeys.Normalizer];

    /// <summary>Reads the parsed JSON.</summary>
    /// <param name="json">The members.</param>
    /// <param name="whose">The start of messages: the client's statements.</param>
    /// <exception cref="InvalidOptionsException">A key is unknown, or the control's path is no text.</exception>
    public static ClientStatementTexts Read(Dictionary<string, JsonElement> json, string whose)
    {
        var texts = new Dictionary<string, string>(StringComparer.Ordinal);
        string? control = null;
        foreach ((string key, JsonElement value) in json)
        {
            if (value.ValueKind == JsonValueKind.Null)
                continue;
            if (key == ControlKey)
            {
                control = value.ValueKind == JsonValueKind.String
                    ? value.GetString() : throw Refuse(key, Sentence.Quote(value.GetRawText()), "a path");
            }
            else if (Known.Contains(key))
                texts.Add(key, value.ValueKind == JsonValueKind.String ? value.GetString()! : value.GetRawText());
            else
                throw Refuse(key, "unknown", $"one of {string.Join(", ", Known)} and {ControlKey}");
        }

        return new ClientStatementTexts(texts, control);

        InvalidOptionsException Refuse(string key, string fault, string expected) =>
            new([$"{whose}: {Sentence.Quote(key)} is {fault}; {expected} was expected."]);
    }
}
