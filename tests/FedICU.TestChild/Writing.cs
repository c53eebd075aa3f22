using System.Text;

namespace FedICU.TestChild;

/// <summary>Writes models until killed.</summary>
internal static class Writing
{
    private static readonly TensorInfo[] Tensors =
    [
        new("first", DType.U8, new TensorShape(300_000)),
        new("second", DType.U8, new TensorShape(700, 1000)),
    ];

    /// <summary>Writes half of a model, says so, and waits.</summary>
    public static int Half(string path)
    {
        TensorSink sink = TensorSink.ToFile(path);
        sink.Begin(Tensors, new Dictionary<string, string>());
        sink.Write(Tensors[0], 0, new byte[Tensors[0].ByteLength]);
        Console.WriteLine("half");
        Thread.Sleep(Timeout.Infinite);
        return 0;
    }

    /// <summary>Writes model after model over the same file; in the model of number n every byte is n modulo 251, and so says its metadata.</summary>
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
    /// Writes model after model into the same folder, numbered as in <see cref="Forever"/>: an adapter of one config, or of a config that changes with each
    /// (r = value + 1), or the shards of the model that is there; or each adapter into a new folder, which has its number for a name.
    /// </summary>
    public static int FolderForever(string kind, string folder)
    {
        using ShardedModel? layout = kind == "shards" ? (ShardedModel)TensorSource.Open(folder) : null;
        IReadOnlyList<TensorInfo> tensors = layout?.Tensors ?? Tensors;
        for (int n = 0; ; n++)
        {
            byte value = (byte)(n % 251);
            TensorSink sink = layout is not null
                ? TensorSink.ToShardedFolder(folder, layout)
                : TensorSink.ToAdapterFolder(
                    kind == "new" ? Path.Combine(folder, $"{n}") : folder,
                    PeftAdapterConfig.Parse(Encoding.UTF8.GetBytes($$"""{"r": {{(kind == "adapter-changing" ? value + 1 : 8)}}}"""), "memory"));
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
