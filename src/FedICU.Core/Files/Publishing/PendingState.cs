using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>
/// A state that was sealed but not published: a complete file <c>.name.fedicu-state</c> beside the state's file. It
/// stays if a run ends between sealing the state and publishing it.
/// </summary>
internal static class PendingState
{
    /// <summary>The ending of a pending state's name.</summary>
    public const string Ending = ".fedicu-state";

    // Bytes at the start of a file in which a state's key is searched for; chosen. The metadata come first in the file.
    private const int HeadBytes = 1 << 16;

    /// <summary>
    /// Publishes or removes what a killed run left beside a state's file. The state is published if it belongs to the
    /// round's global model, because that run had published the model. Otherwise it is removed.
    /// </summary>
    /// <param name="path">The state's file, which need not exist.</param>
    /// <param name="modelDigest">Computes the digest of the round's global model; called only if it is needed.</param>
    /// <param name="options">Whether links are followed and a lock is taken.</param>
    /// <returns>A sentence that says what was done; null if there was nothing to do.</returns>
    /// <exception cref="FedIcuException">
    /// Another run is writing the state, or a file that is no state has the name of a pending one.
    /// </exception>
    public static string? Recover(string path, Func<string> modelDigest, OutputOptions options)
    {
        string target = FilePlace.Destination(path, options.FollowLinks), pending = FilePlace.Hidden(target, Ending);
        if (!Path.Exists(pending))
            return null;
        StagedFile.CheckPlace(path, options.FollowLinks);
        using OutputLock? held = options.IsOwned ? null : OutputLock.Take(target, path);
        // The run that held the lock may have published its state meanwhile.
        if (!Path.Exists(pending))
            return null;
        string? digest = BaseOf(pending, path);
        if (digest is not null && digest == modelDigest())
        {
            Publish(pending, target, path);
            return $"The state '{path}' was completed: the run before had published its model and was stopped before its state.";
        }

        // Without locks, the pending state may belong to a run that is about to publish it.
        if (held is { IsExclusive: false })
            return null;
        FilePlace.Remove(pending);
        return $"A state that a stopped run left beside '{path}' was removed: {DescribeMismatch(digest)}.";
    }

    /// <summary>Says what <see cref="Recover"/> would do, and changes nothing.</summary>
    /// <param name="path">The state's file, which need not exist.</param>
    /// <param name="modelDigest">Computes the digest of the round's global model; called only if it is needed.</param>
    /// <param name="options">Whether links are followed.</param>
    /// <param name="current">The file that would be the state: the pending one, if it would be published.</param>
    /// <returns>A sentence that says what would be done; null if there is nothing to do.</returns>
    /// <exception cref="FedIcuException">A file that is no state has the name of a pending one.</exception>
    public static string? Foresee(string path, Func<string> modelDigest, OutputOptions options, out string current)
    {
        string pending = FilePlace.Hidden(FilePlace.Destination(path, options.FollowLinks), Ending);
        current = path;
        if (!Path.Exists(pending))
            return null;
        string? digest = BaseOf(pending, path);
        if (digest is null || digest != modelDigest())
            return $"A run would remove a state that a stopped run left beside '{path}': {DescribeMismatch(digest)}.";
        current = pending;
        return $"A run would complete the state '{path}': the run before had published its model and was stopped before its state.";
    }

    private static string DescribeMismatch(string? digest) =>
        digest is null ? "it was incomplete" : "it does not belong to the global model";

    /// <summary>Throws if a file that is no state has the name of a pending one.</summary>
    public static void CheckPlace(string path, OutputOptions options)
    {
        string pending = FilePlace.Hidden(FilePlace.Destination(path, options.FollowLinks), Ending);
        if (Path.Exists(pending))
            BaseOf(pending, path);
    }

    private static void Publish(string pending, string target, string path)
    {
        try
        {
            File.Move(pending, target, overwrite: true);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"'{path}' cannot be written: {FileFailure.Describe(e)}.", e);
        }

        FolderCalls.Flush(Path.GetDirectoryName(target)!);
    }

    /// <summary>Returns the digest that a pending state names, or null if the file is incomplete.</summary>
    /// <exception cref="FedIcuException">The file is no state.</exception>
    private static string? BaseOf(string pending, string path)
    {
        if (new FileInfo(pending).LinkTarget is not null)
            throw Foreign(pending, path);
        try
        {
            using var file = SafetensorsFile.Open(pending);
            if (!file.Metadata.ContainsKey(MetadataKeys.State))
                throw Foreign(pending, path);
            return file.Metadata.GetValueOrDefault(MetadataKeys.Base) is { } digest && digest != ModelDigest.Unknown ? digest : null;
        }
        catch (InvalidModelException)
        {
            return StartsLikeState(pending) ? null : throw Foreign(pending, path);
        }
    }

    // A truncated file does not open, but its header begins with the metadata.
    private static bool StartsLikeState(string pending)
    {
        try
        {
            using var handle = ModelFile.OpenRead(pending);
            byte[] head = new byte[HeadBytes];
            int read = ModelFile.ReadAt(handle, head, 0, pending);
            return head.AsSpan(0, read).IndexOf("\"fedicu.state\""u8) >= 0;
        }
        catch (InvalidModelException)
        {
            return false;
        }
    }

    private static FedIcuException Foreign(string pending, string path) => new(
        $"{Sentence.Quote(pending)} is no state, but has the name of a pending one of '{path}': remove or rename it.");
}
