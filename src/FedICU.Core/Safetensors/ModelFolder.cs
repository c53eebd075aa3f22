namespace FedICU.Safetensors;

/// <summary>The names that files have in model folders, and which of them decides what a folder is.</summary>
internal static class ModelFolder
{
    public const string AdapterConfig = "adapter_config.json";
    public const string AdapterModel = "adapter_model.safetensors";
    public const string ShardIndex = "model.safetensors.index.json";
    public const string SingleFile = "model.safetensors";

    /// <summary>The first of these that a folder holds decides how it is read.</summary>
    public static readonly string[] Precedence = [AdapterConfig, ShardIndex, SingleFile];
}
