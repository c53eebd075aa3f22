using System.Text.Json;
using System.Text.Json.Nodes;

namespace FedICU.Cli;

/// <summary>Changes a model's configuration, as Hugging Face's loaders read it.</summary>
internal static class ModelConfig
{
    /// <summary>The configuration's file, beside the model's weights.</summary>
    public const string FileName = "config.json";

    // the names of the field that says which type the weights have: the older and the newer
    private static readonly string[] TypeFields = ["torch_dtype", "dtype"];

    private static readonly JsonSerializerOptions Indented = new(JsonSerializerOptions.Default) { WriteIndented = true };

    /// <summary>Says that the head is no longer tied to the embedding.</summary>
    public static string Untie(string config) => Change(config, static fields => fields["tie_word_embeddings"] = false);

    /// <summary>Names another type of the weights, in each part of the configuration that names one.</summary>
    public static string SetType(string config, DType dtype) => Change(config, fields => SetType(fields, Name(dtype)));

    private static string Change(string config, Action<JsonObject> change)
    {
        JsonNode? root = JsonNode.Parse(config);
        if (root is not JsonObject fields)
            return config;
        change(fields);
        return fields.ToJsonString(Indented);
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
