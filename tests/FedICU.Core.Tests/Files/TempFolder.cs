namespace FedICU.Tests.Files;

/// <summary>A temporary folder for one test, removed with its content.</summary>
internal sealed class TempFolder : IDisposable
{
    private readonly DirectoryInfo _folder = Directory.CreateTempSubdirectory("fedicu-test-");

    public string FullName => _folder.FullName;

    /// <summary>Gets the path of a name in the folder.</summary>
    public string this[string name] => Path.Combine(FullName, name);

    /// <summary>Writes a file and returns its path.</summary>
    public string Put(string name, ReadOnlySpan<byte> bytes)
    {
        File.WriteAllBytes(this[name], bytes);
        return this[name];
    }

    /// <summary>Returns the sorted names of the folder's entries.</summary>
    public string[] Names() => [.. _folder.EnumerateFileSystemInfos().Select(item => item.Name).Order(StringComparer.Ordinal)];

    public void Dispose() => _folder.Delete(recursive: true);
}
