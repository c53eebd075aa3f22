using System.Text;

namespace FedICU.TestChild;

/// <summary>Writes models until the parent process kills this process.</summary>
internal static class Writing
{
    private static readonly TensorInfo[] Tensors =
    [
        new("first", DType.U8, new TensorShape(300_000)),
        new("second", DType.U8, new TensorShape(700, 1000)),
    ];

    /// <summary>Writes half of a model, prints a line, and waits.</summary>
    public static int Half(string path)
    {
        TensorSink sink = TensorSink.ToFile(path);
        sink.Begin(Tensors, new Dictionary<string, string>());
        sink.Write(Tensors[0], 0, new byte[Tensors[0].ByteLength]);
        Console.WriteLine("half");
        Thread.Sleep(Timeout.Infinite);
        return 0;
    }

    /// <summary>
    /// Writes model after model to the same file. In model n every byte is n modulo 251, and the metadata contain this
    /// value.
    /// </summary>
    public static int Forever(string path)
    {
        TensorSink sink = TensorSink.ToFile(path);
        for (int n = 0; ; n++)
        {
            WriteValue(sink, Tensors, (byte)(n % 251));
            Console.WriteLine(n);
        }
    }

    /// <summary>
    /// Writes model after model to the same folder, with the values of <see cref="Forever"/>.
    /// </summary>
    /// <param name="kind">
    /// "shards" writes the shards of the model in the folder; "adapter-changing" writes adapters whose config changes
    /// each time (r = value + 1); "new" writes each adapter to a new subfolder, named by its number; any other kind
    /// writes adapters of one config.
    /// </param>
    /// <param name="folder">The folder.</param>
    public static int FolderForever(string kind, string folder)
    {
        using ShardedModel? layout = kind == "shards" ? (ShardedModel)TensorSource.Open(folder) : null;
        IReadOnlyList<TensorInfo> tensors = layout?.Tensors ?? Tensors;
        for (int n = 0; ; n++)
        {
            byte value = (byte)(n % 251);
            string config = $$"""{"r": {{(kind == "adapter-changing" ? value + 1 : 8)}}}""";
            TensorSink sink = layout is not null
                ? TensorSink.ToShardedFolder(folder, layout)
                : TensorSink.ToAdapterFolder(
                    kind == "new" ? Path.Combine(folder, $"{n}") : folder,
                    PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes(config), "memory"));
            WriteValue(sink, tensors, value);
            Console.WriteLine(n);
        }
    }

    private static void WriteValue(TensorSink sink, IReadOnlyList<TensorInfo> tensors, byte value)
    {
        sink.Begin(tensors, new Dictionary<string, string> { ["value"] = $"{value}" });
        foreach (TensorInfo tensor in tensors)
        {
            var bytes = new byte[tensor.ByteLength];
            Array.Fill(bytes, value);
            sink.Write(tensor, 0, bytes);
        }

        sink.Commit();
    }
}
