namespace FedICU.TestChild;

/// <summary>Reads a model while the parent process truncates it.</summary>
internal static class Reading
{
    /// <summary>
    /// Reads all tensors repeatedly. Prints the message of the failure, then shows that the process survives.
    /// </summary>
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
