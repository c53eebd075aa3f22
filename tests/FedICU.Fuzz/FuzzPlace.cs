namespace FedICU.Fuzz;

/// <summary>A temporary folder for one case, in a memory file system if there is one.</summary>
internal sealed class FuzzPlace : IDisposable
{
    private readonly DirectoryInfo _folder;

    public FuzzPlace(string name)
    {
        string root = Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath();
        _folder = Directory.CreateDirectory(Path.Combine(root, $"fedicu-fuzz-{Environment.ProcessId}-{name}"));
    }

    public string FullName => _folder.FullName;

    public string this[string name] => Path.Combine(FullName, name);

    /// <summary>Writes a file and creates its folders.</summary>
    public string Put(string name, byte[] bytes)
    {
        string path = this[name];
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
        return path;
    }

    /// <summary>Writes all files of a case whose names begin with a prefix.</summary>
    public void PutAll(FuzzInput input, string prefix)
    {
        foreach (FuzzPart part in input.Parts.Where(part => part.Name.StartsWith(prefix, StringComparison.Ordinal)))
            Put(part.Name, part.Bytes);
    }

    /// <summary>Reads all files, by relative name.</summary>
    public SortedDictionary<string, byte[]> Files()
    {
        var files = new SortedDictionary<string, byte[]>(StringComparer.Ordinal);
        foreach (string path in Directory.EnumerateFiles(FullName, "*", SearchOption.AllDirectories))
            files.Add(Path.GetRelativePath(FullName, path), File.ReadAllBytes(path));
        return files;
    }

    /// <summary>Fails unless the folder contains exactly the expected files.</summary>
    public void CheckFiles(SortedDictionary<string, byte[]> expected, string after)
    {
        SortedDictionary<string, byte[]> found = Files();
        foreach (string name in found.Keys.Union(expected.Keys))
        {
            if (!expected.TryGetValue(name, out byte[]? before))
                throw new FuzzFailure($"after {after} the file '{name}' is left over", $"left over after {after}");
            if (!found.TryGetValue(name, out byte[]? now))
                throw new FuzzFailure($"after {after} the file '{name}' is gone", $"gone after {after}");
            if (!before.AsSpan().SequenceEqual(now))
                throw new FuzzFailure($"after {after} the file '{name}' has other bytes", $"changed after {after}");
        }
    }

    /// <summary>
    /// Lists the files of this folder that the process still has open. The list is empty except on Linux.
    /// </summary>
    public IEnumerable<string> OpenFiles()
    {
        if (!OperatingSystem.IsLinux())
            yield break;
        foreach (string handle in Directory.GetFiles("/proc/self/fd"))
        {
            if (TargetOf(handle) is { } target && target.StartsWith(FullName, StringComparison.Ordinal))
                yield return target;
        }
    }

    private static string? TargetOf(string handle)
    {
        try
        {
            return File.ResolveLinkTarget(handle, returnFinalTarget: false)?.FullName;
        }
        catch (IOException)
        {
            // the handle was closed after the folder was listed
            return null;
        }
    }

    public void Dispose() => _folder.Delete(recursive: true);
}
