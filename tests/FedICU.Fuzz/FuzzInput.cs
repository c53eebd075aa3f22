using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace FedICU.Fuzz;

/// <summary>A file or text of a case.</summary>
[method: JsonConstructor]
internal sealed record FuzzPart(string Name, byte[] Bytes)
{
    public FuzzPart(string name, string text) : this(name, Encoding.UTF8.GetBytes(text))
    {
    }
}

/// <summary>A case: everything that a target gets, so that the saved input is enough to repeat it.</summary>
internal sealed record FuzzInput(string Target, ulong Seed, long Case, IReadOnlyList<FuzzPart> Parts)
{
    public long ByteLength => Parts.Sum(part => (long)part.Bytes.Length);

    public byte[] this[string name] => Parts.First(part => part.Name == name).Bytes;

    public string Text(string name) => Encoding.UTF8.GetString(this[name]);

    /// <summary>Saves the case to a file that <see cref="Load"/> reads.</summary>
    public void Save(string path) => File.WriteAllText(path, JsonSerializer.Serialize(this, Indented));

    public static FuzzInput Load(string path) =>
        JsonSerializer.Deserialize<FuzzInput>(File.ReadAllText(path)) ?? throw new InvalidDataException($"'{path}' contains no case.");

    private static readonly JsonSerializerOptions Indented = new() { WriteIndented = true };
}
