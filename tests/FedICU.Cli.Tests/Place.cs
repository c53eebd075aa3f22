using System.Runtime.InteropServices;
using System.Text;

namespace FedICU.Cli.Tests;

/// <summary>A temporary folder for a test, with a global model and three clients.</summary>
internal sealed class Place : IDisposable
{
    public const string Weight = "layer.weight";
    public const string Bias = "layer.bias";
    public const string Steps = "steps";

    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fedicu-cli-");

    public Place()
    {
        Global = Write("global.safetensors", Model([1, 0, 0, 2, 1, 1], [0.5f, -1], 10));
        A = Write("a.safetensors", Model([2, 0, 0, 2, 1.5f, 0.5f], [0.25f, -1], 12));
        B = Write("b.safetensors", Model([1, 1, 1, 2, 1, -1], [0.5f, -2], 14));
        C = Write("c.safetensors", Model([-1, 0, 0, 3, 0, 1], [1, 1], 17));
    }

    public string Global { get; }

    public string A { get; }

    public string B { get; }

    public string C { get; }

    public string this[string name] => Path.Combine(_folder.FullName, name);

    /// <summary>Lists the relative paths of all files and folders.</summary>
    public string[] Names() =>
    [
        .. _folder.EnumerateFileSystemInfos("*", SearchOption.AllDirectories)
            .Select(item => Path.GetRelativePath(_folder.FullName, item.FullName)).Order(StringComparer.Ordinal),
    ];

    /// <summary>Builds the command line of a mask.</summary>
    public string[] MaskLine(string local) => ["mask", "--global", Global, "--local", local, "--output", this["out.safetensors"]];

    /// <summary>Builds the command line of a round.</summary>
    public string[] RoundLine(string[] clients, string? output = null, string? global = null, string strategy = "fedicu") =>
    [
        "aggregate", "--strategy", strategy, "--global", global ?? Global, .. clients.SelectMany(client => new[] { "--client", client }),
        "--output", output ?? this["out.safetensors"],
    ];

    /// <summary>
    /// Asserts that a command line is refused with one message that contains all parts, and that no file changes.
    /// </summary>
    public void AssertRefused(string[] args, params string[] parts)
    {
        string[] names = Names();
        byte[][] contents = [.. Contents()];
        Tool.Run(args).Failed(1, parts);
        Assert.That(Names(), Is.EqualTo(names));
        Assert.That(Contents(), Is.EqualTo(contents), "no file was changed");

        IEnumerable<byte[]> Contents() => Names().Select(name => new FileInfo(this[name]))
            .Where(file => file is { Exists: true, LinkTarget: null }).Select(file => File.ReadAllBytes(file.FullName));
    }

    /// <summary>Creates a model of a matrix, a vector and a counter.</summary>
    public static MemoryModel Model(float[] weight, float[] bias, long steps, params (string Key, string Value)[] metadata) =>
        new(metadata.ToDictionary(entry => entry.Key, entry => entry.Value))
        {
            { Weight, [3, 2], weight },
            { Bias, [2], bias },
            { Steps, [], new[] { steps } },
        };

    /// <summary>Creates a model with the values of client a and other metadata.</summary>
    public static MemoryModel Like(params (string Key, string Value)[] metadata) =>
        Model([2, 0, 0, 2, 1.5f, 0.5f], [0.25f, -1], 12, metadata);

    /// <summary>Creates a model whose matrix has another shape than the global model's.</summary>
    public static MemoryModel ModelOfOtherShape() =>
        new() { { Weight, [2, 3], new float[6] }, { Bias, [2], new float[2] }, { Steps, [], new long[1] } };

    /// <summary>Creates a model whose matrix has another kind of type than the global model's.</summary>
    public static MemoryModel ModelOfOtherType() =>
        new() { { Weight, [3, 2], new int[6] }, { Bias, [2], new float[2] }, { Steps, [], new long[1] } };

    public static string Digest(string path)
    {
        using TensorSource model = TensorSource.Open(path);
        return ModelDigest.Compute(model);
    }

    public string Write(string name, TensorSource model)
    {
        string path = this[name];
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        Save(model, TensorSink.ToFile(path));
        return path;
    }

    public string Write(string name, string text)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(this[name])!);
        File.WriteAllText(this[name], text);
        return this[name];
    }

    public string Write(string name, byte[] bytes)
    {
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    /// <summary>Writes an adapter folder with one LoRA pair.</summary>
    public string WriteAdapter(string name, double seed, int alpha = 16)
    {
        float[] a = [.. Enumerable.Range(0, 8).Select(i => (float)Math.Sin(seed + i))];
        float[] b = [.. Enumerable.Range(0, 6).Select(i => (float)Math.Cos(seed * 2 + i))];
        var model = new MemoryModel { { "base.q_proj.lora_A.weight", [2, 4], a }, { "base.q_proj.lora_B.weight", [3, 2], b } };
        Write(Path.Combine(name, "adapter_model.safetensors"), model);
        Write(
            Path.Combine(name, "adapter_config.json"),
            $$"""
            {"peft_type": "LORA", "r": 2, "lora_alpha": {{alpha}}, "target_modules": ["q_proj"], "base_model_name_or_path": "tiny"}
            """);
        return this[name];
    }

    /// <summary>Writes a sparse file of one F32 matrix of zeros, which takes no disk space.</summary>
    public string WriteZeros(string name, int rows, int columns)
    {
        byte[] header = Encoding.UTF8.GetBytes(
            $$$"""{"w":{"dtype":"F32","shape":[{{{rows}}},{{{columns}}}],"data_offsets":[0,{{{4L * rows * columns}}}]}}""");
        using FileStream file = File.Create(this[name]);
        file.Write(BitConverter.GetBytes((long)header.Length));
        file.Write(header);
        file.SetLength(8 + header.Length + 4L * rows * columns);
        return this[name];
    }

    public static void Save(TensorSource model, TensorSink sink)
    {
        sink.Begin(model.Tensors, model.Metadata);
        foreach (TensorInfo tensor in model.Tensors)
            sink.Write(tensor, 0, Data(model, tensor));
        sink.Commit();
    }

    public static byte[] Data(TensorSource model, TensorInfo tensor)
    {
        var data = new byte[tensor.ByteLength];
        model.Read(tensor, 0, data);
        return data;
    }

    public static T[] Read<T>(string path, string name) where T : unmanaged
    {
        using TensorSource model = TensorSource.Open(path);
        return MemoryMarshal.Cast<byte, T>(Data(model, model.Find(name)!)).ToArray();
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
