using System.Globalization;
using System.Text;
using FedICU.Files;
using FedICU.Files.Publishing;

namespace FedICU.Extensions;

/// <summary>
/// The folder of a server's rounds. <c>7/</c> holds the model before round 7, the rule's state, the session while the
/// round runs and the report after it. The session of a second attempt is <c>session-2</c>. The folder of the next
/// round appears as a whole, by one rename, and that ends the round before it.
/// </summary>
internal sealed class RoundFolders : IDisposable
{
    public static readonly OutputOptions Owned = new() { IsOwned = true };

    private const string Model = "global.safetensors";
    private const string Adapter = "global";
    private const string State = "state.safetensors";
    private const string Report = "report.json";
    private const string Session = "session";

    private readonly string _root;
    private readonly FileStream _lock;

    /// <summary>Opens the folder, takes its lock and removes what a crash left.</summary>
    /// <exception cref="FedIcuException">The folder cannot be written, or another server has it.</exception>
    public RoundFolders(string root)
    {
        _root = Path.GetFullPath(root);
        try
        {
            Directory.CreateDirectory(_root);
            _lock = new FileStream(Path.Combine(_root, ".lock"), FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{root}' cannot be used; another server may have locked it: {e.Message}", e);
        }
    }

    private string Next => Path.Combine(_root, ".next");

    /// <summary>Lists the rounds that have begun, in ascending order.</summary>
    public IEnumerable<long> List() => Change(() => Directory.GetDirectories(_root).Select(folder => NumberOf(Path.GetFileName(folder)))
        .OfType<long>().Order().ToArray());

    /// <summary>Finds the model before a round; null if it is not kept any more.</summary>
    public string? FindModel(long round)
    {
        string file = Of(round, Model), adapter = Of(round, Adapter);
        return File.Exists(file) ? file : Directory.Exists(adapter) ? adapter : null;
    }

    public string SessionOf(long round, int attempt) =>
        Of(round, attempt == 1 ? Session : string.Create(CultureInfo.InvariantCulture, $"{Session}-{attempt}"));

    /// <summary>
    /// Finds the number of a round's newest attempt. Its session's folder says it, so that beginning again is one step.
    /// </summary>
    public int FindAttempt(long round) => Change(() => Directory.GetDirectories(Of(round), Session + "-*")
        .Select(folder => NumberOf(Path.GetFileName(folder)[(Session.Length + 1)..])).OfType<long>()
        .Where(attempt => attempt < int.MaxValue).Select(attempt => (int)attempt).Append(1).Max());

    public string ReportOf(long round) => Of(round, Report);

    /// <summary>Finds the report of a round; null if there is none.</summary>
    public string? FindReport(long round) => File.Exists(ReportOf(round)) ? ReportOf(round) : null;

    /// <summary>Begins the next round's folder and returns the sink of its model.</summary>
    public TensorSink BeginNext(TensorSource global) => Change(() =>
    {
        if (Directory.Exists(Next))
            Directory.Delete(Next, recursive: true);
        Directory.CreateDirectory(Next);
        return global.AdapterConfig is { } config
            ? TensorSink.ToAdapterFolder(Path.Combine(Next, Adapter), config, Owned)
            : TensorSink.ToFile(Path.Combine(Next, Model), Owned);
    });

    /// <summary>Finds the places of a rule's state before a round and after it.</summary>
    public RoundState CreateState(long round)
    {
        string before = Of(round, State), after = Path.Combine(Next, State);
        return File.Exists(before) ? RoundState.InFile(before, after, Owned) : RoundState.InFile(after, options: Owned);
    }

    /// <summary>Writes the report of a round, which is not over until its successor is published.</summary>
    public void WriteReport(long round, RoundReport report)
    {
        byte[] json = Encoding.UTF8.GetBytes(report.ToJson() + "\n");
        var file = StagedFile.Beside(ReportOf(round), json.Length, Owned);
        try
        {
            file.Write(json, 0);
            file.Seal();
            file.Publish();
        }
        catch
        {
            file.Discard();
            throw;
        }
    }

    /// <summary>Publishes the next round's folder: the round before it is over.</summary>
    public void Publish(long next) => Change(() =>
    {
        FolderCalls.Flush(Next);
        Directory.Move(Next, Of(next));
        FolderCalls.Flush(_root);
        return next;
    });

    /// <summary>
    /// Removes what is needed no more: sessions of rounds before the current one and of its earlier attempts, and all
    /// models but some. What cannot be removed is tried again after the next round.
    /// </summary>
    public void Sweep(long current, int attempt, int keptModels)
    {
        string kept = SessionOf(current, attempt);
        foreach (long round in List())
        {
            try
            {
                foreach (string session in Directory.GetDirectories(Of(round), Session + "*").Where(session => session != kept))
                    Remove(session);
                if (round > current - keptModels)
                    continue;
                Remove(Of(round, Adapter));
                File.Delete(Of(round, Model));
                File.Delete(Of(round, State));
            }
            catch (Exception e) when (ModelFile.IsFileError(e))
            {
            }
        }

        static void Remove(string folder)
        {
            if (Directory.Exists(folder))
                Directory.Delete(folder, recursive: true);
        }
    }

    public void Dispose() => _lock.Dispose();

    private string Of(long round, string name = "") => Path.Combine(_root, round.ToString(CultureInfo.InvariantCulture), name);

    private static long? NumberOf(string name) =>
        long.TryParse(name, NumberStyles.None, CultureInfo.InvariantCulture, out long number) && number > 0 ? number : null;

    private T Change<T>(Func<T> change)
    {
        try
        {
            return change();
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{_root}' cannot be changed: {FileFailure.Describe(e)}.", e);
        }
    }
}
