using System.Text;
using System.Text.Json;
using FedICU.Cli.Json;
using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.Cli.Comparing;

/// <summary>
/// The folder of a comparison: a folder for each run, and files of the whole. It is locked while the comparison runs.
/// Each file is replaced as a whole, so a killed comparison goes on from what is there.
/// </summary>
internal sealed class ComparisonStore : IDisposable
{
    /// <summary>The file that marks a comparison's folder, and has its results.</summary>
    public const string Results = "comparison.json";

    public const string Page = "comparison.html";

    private const string RunResults = "result.json";

    private readonly OutputLock _lock;

    private ComparisonStore(string folder, OutputLock held) => (Folder, _lock) = (folder, held);

    public string Folder { get; }

    /// <summary>Opens a new folder, or one that a comparison has made.</summary>
    /// <exception cref="FedIcuException">The folder has other contents, or another comparison runs in it.</exception>
    public static ComparisonStore Open(string folder)
    {
        try
        {
            Directory.CreateDirectory(folder);
            if (!File.Exists(Path.Combine(folder, Results)) && Directory.EnumerateFileSystemEntries(folder).Any(path => !IsLeftover(path)))
                throw new RefusedException($"--output '{folder}' has other files; a new folder, or one of a comparison, was expected.");
            return new ComparisonStore(folder, OutputLock.Take(FilePlace.Real(folder), folder));
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(folder, e);
        }
    }

    /// <summary>Reads what a run has; null if there is nothing, or nothing that can be read.</summary>
    public static RunResult? Read(ComparisonRun run)
    {
        try
        {
            string path = Path.Combine(run.Folder, RunResults);
            if (!File.Exists(path))
                return null;
            RunResult? result = JsonSerializer.Deserialize(File.ReadAllBytes(path), ComparisonJson.Default.RunResult);
            return result?.Version == RunResult.CurrentVersion ? result : null;
        }
        catch (Exception e) when (e is JsonException || ModelFile.IsFileError(e))
        {
            return null;
        }
    }

    /// <summary>Makes a run's folder, and removes the result that it has.</summary>
    public static void Begin(ComparisonRun run)
    {
        try
        {
            Directory.CreateDirectory(run.Folder);
            File.Delete(Path.Combine(run.Folder, RunResults));
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(run.Folder, e);
        }
    }

    /// <summary>Removes the model of a run.</summary>
    public static void RemoveModel(ComparisonRun run)
    {
        if (run.Strategy is not null)
            FilePlace.Remove(run.Model);
    }

    public static void Write(ComparisonRun run) => Replace(
        Path.Combine(run.Folder, RunResults),
        stream => JsonSerializer.Serialize(stream, run.Result!, ComparisonJson.Default.RunResult));

    /// <summary>Writes the results of all runs.</summary>
    public void Write(string results) =>
        Replace(Path.Combine(Folder, Results), stream => stream.Write(Encoding.UTF8.GetBytes(results + "\n")));

    /// <summary>Writes the page with the picture.</summary>
    public void WritePage(Action<Stream> write) => Replace(Path.Combine(Folder, Page), write);

    public void Dispose() => _lock.Dispose();

    private static void Replace(string path, Action<Stream> write)
    {
        using var bytes = new MemoryStream();
        write(bytes);
        StagedFile file = StagedFile.Beside(path, bytes.Length, new OutputOptions());
        try
        {
            file.Write(bytes.GetBuffer().AsSpan(0, (int)bytes.Length), 0);
            file.Seal();
            file.Publish();
        }
        catch
        {
            file.Discard();
            throw;
        }
    }

    /// <summary>
    /// Whether a comparison that was killed before its first results left a file: a lock or a temporary file.
    /// </summary>
    private static bool IsLeftover(string path) =>
        Path.GetFileName(path) is var name && (name == OutputLock.LockEnding || name.StartsWith($".{Results}.", StringComparison.Ordinal));

    private static RefusedException CannotWrite(string path, Exception e) =>
        new($"'{path}' cannot be written: {FileFailure.Describe(e)}.");
}
