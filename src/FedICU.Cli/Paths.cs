namespace FedICU.Cli;

/// <summary>Paths as people type them.</summary>
internal static class Paths
{
    /// <summary>One spelling for each place: <c>./a/</c> and <c>a</c> are the same.</summary>
    public static string Normal(string path) => Path.TrimEndingDirectorySeparator(Path.GetFullPath(path));

    public static bool Same(string a, string b) => Normal(a) == Normal(b);

    /// <summary>A path given for an option; an empty one is refused.</summary>
    public static string Read(string option, string path) => path.Length > 0 ? path : throw new RefusedException($"{option} is ''; a path was expected.");

    /// <summary>Opens a model given for an option or argument; what is wrong with it is said with that name.</summary>
    public static TensorSource Open(string option, string path)
    {
        Read(option, path);
        try
        {
            // others may write the files of a command line: positional reads, never mapped (contracts.md, Files)
            return TensorSource.Open(path);
        }
        catch (InvalidModelException e)
        {
            throw new RefusedException($"{option}: {e.Message}");
        }
    }
}
