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
            byte value = (byte)(n % 251);
            sink.Begin(Tensors, new Dictionary<string, string> { ["value"] = $"{value}" });
            foreach (TensorInfo tensor in Tensors)
            {
                var bytes = new byte[tensor.ByteLength];
                Array.Fill(bytes, value);
                sink.Write(tensor, 0, bytes);
            }

            sink.Commit();
            Console.WriteLine(n);
        }
    }
}
