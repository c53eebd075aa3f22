using System.Text;
using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.Cli;

/// <summary>
/// Writes a round's report. Its path is tried before the round, so that no round succeeds whose report cannot be
/// written. A file is replaced as a whole; a device, a pipe or one of the tool's own streams is written directly.
/// </summary>
internal sealed class ReportFile : IDisposable
{
    private readonly string _path, _option, _done;
    // one of the tool's own streams; null for any other path
    private readonly TextWriter? _own;
    // the file to replace; null for devices and pipes
    private readonly string? _target;
    private OutputLock? _lock;
    private string? _temporary;
    private FileStream? _stream;

    /// <summary>Opens the report for writing. A pipe blocks until its reader opens it too.</summary>
    /// <param name="path">The report's path.</param>
    /// <param name="output">
    /// The round's output. A report inside a folder that the round creates is opened after the round.
    /// </param>
    /// <param name="followLinks">
    /// Whether to write to the target of a symbolic link instead of replacing the link.
    /// </param>
    /// <param name="terminal">The terminal, whose streams can be given as paths such as /dev/stdout.</param>
    public ReportFile(string path, string output, bool followLinks, Terminal terminal)
        : this(path, output, followLinks, terminal, "--report", "; the new model was written")
    {
    }

    /// <summary>Opens the file of another option, which no round's model precedes.</summary>
    public static ReportFile OfOption(string option, string path, bool followLinks, Terminal terminal) =>
        new(path, path, followLinks, terminal, option, "");

    private ReportFile(string path, string output, bool followLinks, Terminal terminal, string option, string done)
    {
        (_path, _option, _done) = (path, option, done);
        _own = terminal.Named(path);
        if (_own is not null)
            return;
        if (Directory.Exists(path))
            throw new RefusedException($"{_option} '{path}' is a folder; a file was expected.");
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
            throw new RefusedException($"{_option} '{path}' cannot be written: {obstacle}.");
    }

    /// <summary>Writes the report and, for a file, moves it to its path.</summary>
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
            throw new RefusedException($"{_option} '{_path}' cannot be written: {FileFailure.Describe(e)}{_done}.");
        }
    }

    public void Dispose()
    {
        _stream?.Dispose();
        if (_temporary is not null)
            FilePlace.Remove(_temporary);
        _lock?.Dispose();
    }

    /// <summary>Takes the file's lock and opens a temporary file beside it.</summary>
    private void Begin()
    {
        try
        {
            _lock = OutputLock.Take(_target!, _path);
        }
        catch (FedIcuException e)
        {
            throw new RefusedException($"{_option} {e.Message}");
        }

        string temporary = _lock.NewTemporary();
        _stream = Open(temporary, FileMode.CreateNew);
        _temporary = temporary;
    }

    private FileStream Open(string path, FileMode mode)
    {
        try
        {
            // unbuffered, so that closing the file has nothing left to write and cannot fail
            return new FileStream(path, mode, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new RefusedException($"{_option} '{_path}' cannot be written: {FileFailure.Describe(e)}.");
        }
    }
}
