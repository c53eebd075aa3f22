namespace FedICU.TestChild;

/// <summary>Reads a model that its parent truncates.</summary>
internal static class Reading
{
    /// <summary>Reads every tensor again and again; prints the sentence that ends it, and goes on living.</summary>
    public static int UntilRefused(string path)
    {
        using TensorSource model = TensorSource.Open(path);
        var panel = new byte[1 << 16];
        Console.WriteLine("open");
        try
        {
            while (true)
            {
                foreach (TensorInfo tensor in model.Tensors)
                {
                    for (long at = 0; at + panel.Length <= tensor.ByteLength; at += panel.Length)
                        model.Read(tensor, at, panel);
                }
            }
        }
        catch (InvalidModelException e)
        {
            Console.WriteLine(e.Message);
            Console.WriteLine("alive");
            return 0;
        }
    }
}
