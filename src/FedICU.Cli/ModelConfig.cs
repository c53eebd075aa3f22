using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace FedICU.Cli;

/// <summary>A model's configuration, as Hugging Face's loaders read it, and what changes in it.</summary>
internal sealed class ModelConfig
{
    /// <summary>The configuration's file, beside the model's weights.</summary>
    public const string FileName = "config.json";

    private const string Tied = "tie_word_embeddings";

    // the names of the field that says which type the weights have: the older and the newer
    private static readonly string[] TypeFields = ["torch_dtype", "dtype"];

    // parts of a model of several kinds of input that have a head; as the common libraries name them
    private static readonly string[] TextConfigs = ["text_config", "llm_config", "language_config"];

    private static readonly JsonWriterOptions Written = new() { Indented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private readonly JsonObject _fields;

    private ModelConfig(JsonObject fields) => _fields = fields;

    /// <summary>Reads a configuration.</summary>
    /// <exception cref="JsonException">It is no JSON object, or a name occurs twice.</exception>
    public static ModelConfig Parse(Stream stream)
    {
        using JsonDocument document = JsonDocument.Parse(stream, new JsonDocumentOptions { AllowDuplicateProperties = false });
        return document.RootElement.ValueKind == JsonValueKind.Object
            ? new ModelConfig(JsonObject.Create(document.RootElement.Clone())!) : throw new JsonException();
    }

    /// <summary>Says that the head is no longer tied to the embedding.</summary>
    public void Untie()
    {
        _fields[Tied] = false;
        foreach (string name in TextConfigs)
        {
            if (_fields[name] is JsonObject text && text.ContainsKey(Tied))
                text[Tied] = false;
        }
    }

    /// <summary>Names another type of the weights, in each part of the configuration that names one.</summary>
    public void SetType(DType dtype) => SetType(_fields, Name(dtype));

    /// <summary>Returns the text in UTF-8.</summary>
    public byte[] ToBytes()
    {
        using var written = new MemoryStream();
        using (var writer = new Utf8JsonWriter(written, Written))
            _fields.WriteTo(writer);
        return written.ToArray();
    }

    private static void SetType(JsonObject fields, string type)
    {
        foreach (string field in TypeFields)
        {
            if (fields[field]?.GetValueKind() == JsonValueKind.String)
                fields[field] = type;
        }

        // models of several parts describe each in an object of its own
        foreach (JsonObject part in fields.Select(field => field.Value).OfType<JsonObject>())
            SetType(part, type);
    }

    private static string Name(DType dtype) => dtype switch
    {
        DType.F64 => "float64",
        DType.F32 => "float32",
        DType.F16 => "float16",
        _ => "bfloat16",
    };
}
