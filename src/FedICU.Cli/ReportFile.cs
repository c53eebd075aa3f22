using System.Text;
using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.Cli;

/// <summary>
/// A report beside the output: its place is tried before the round, so that a round does not succeed whose report cannot be written. A file is replaced whole;
/// a device, a pipe or one of the tool's own streams takes the report as it comes.
/// </summary>
internal sealed class ReportFile : IDisposable
{
    private readonly string _path;
    private readonly TextWriter? _own;
    // where a file is replaced: which, and the name it is written under until then
    private readonly string? _target;
    private OutputLock? _lock;
    private string? _temporary;
    private FileStream? _stream;

    /// <summary>Tries the report's place; of a pipe this ends when someone reads it.</summary>
    /// <param name="path">The report.</param>
    /// <param name="output">The round's output: where that is a folder still to be made, a report inside must wait for it.</param>
    /// <param name="followLinks">Whether a link is written through, or replaced.</param>
    /// <param name="terminal">Whose streams have names too.</param>
    public ReportFile(string path, string output, bool followLinks, Terminal terminal)
    {
        _path = path;
        _own = terminal.Named(path);
        if (_own is not null)
            return;
        if (Directory.Exists(path))
            throw new RefusedException($"--report '{path}' is a folder; a file was expected.");
        if (FilePlace.IsSpecial(path))
        {
            _stream = Open(path, FileMode.Open);
            return;
        }

        _target = followLinks ? FilePlace.Real(path) : FilePlace.Entry(path);
        string? obstacle = FilePlace.Obstacle(path, followLinks);
        if (obstacle is null)
            Begin();
        else if (!Paths.Same(Path.GetDirectoryName(_target)!, output))
            throw new RefusedException($"--report '{path}' cannot be written: {obstacle}.");
    }

    /// <summary>Writes the report and puts it in its place.</summary>
    public void Write(string text)
    {
        if (_own is not null)
        {
            _own.WriteLine(text);
            return;
        }

        try
        {
            if (_stream is null)
                Begin();
            _stream!.Write(Encoding.UTF8.GetBytes(text + "\n"));
            _stream.Dispose();
            if (_target is not null)
                File.Move(_temporary!, _target, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException || FileFailure.IsTooLarge(e))
        {
            throw new RefusedException($"--report '{_path}' cannot be written: {FileFailure.Describe(e)}; the new model was written.");
        }
    }

    public void Dispose()
    {
        _stream?.Dispose();
        if (_temporary is not null)
            FilePlace.Remove(_temporary);
        _lock?.Dispose();
    }

    /// <summary>Takes the file's lock and opens a temporary beside it.</summary>
    private void Begin()
    {
        try
        {
            _lock = OutputLock.Take(_target!, _path);
        }
        catch (FedIcuException e)
        {
            throw new RefusedException($"--report {e.Message}");
        }

        string temporary = _lock.NewTemporary();
        _stream = Open(temporary, FileMode.CreateNew);
        _temporary = temporary;
    }

    private FileStream Open(string path, FileMode mode)
    {
        try
        {
            // unbuffered: nothing is left to be written, and to fail, when it is closed
            return new FileStream(path, mode, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new RefusedException($"--report '{_path}' cannot be written: {FileFailure.Describe(e)}.");
        }
    }
}
