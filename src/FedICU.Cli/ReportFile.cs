namespace FedICU.Cli;

/// <summary>A report beside the output: its place is tried before the round, so that a round does not succeed whose report cannot be written.</summary>
internal sealed class ReportFile : IDisposable
{
    private readonly string _path, _temporary;
    private FileStream? _stream;

    /// <summary>Tries the report's place.</summary>
    /// <param name="path">The report.</param>
    /// <param name="output">The round's output: where that is a folder still to be made, a report inside must wait for it.</param>
    public ReportFile(string path, string output)
    {
        _path = Paths.Read("--report", path);
        _temporary = path + "." + Path.GetRandomFileName() + ".tmp";
        if (Directory.Exists(path))
            throw new RefusedException($"--report '{path}' is a folder; a file was expected.");
        string folder = Path.GetDirectoryName(Path.GetFullPath(path)) ?? "";
        if (Directory.Exists(folder))
            Open();
        else if (!Paths.Same(folder, output))
            throw new RefusedException($"--report '{path}' cannot be written: its folder does not exist.");
    }

    /// <summary>Writes the report and puts it in its place.</summary>
    public void Write(string text)
    {
        using (var writer = new StreamWriter(_stream ?? Open()))
            writer.Write(text + "\n");
        File.Move(_temporary, _path, overwrite: true);
    }

    public void Dispose()
    {
        _stream?.Dispose();
        if (_stream is not null)
            File.Delete(_temporary);
    }

    private FileStream Open()
    {
        try
        {
            return _stream = new FileStream(_temporary, FileMode.CreateNew, FileAccess.Write);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new RefusedException($"--report '{_path}' cannot be written: {e.Message}");
        }
    }
}
