namespace FedICU;

/// <summary>Options for replacing existing files with a new model (docs/adr/0015).</summary>
public sealed record OutputOptions
{
    /// <summary>
    /// Gets whether a link at a file's path is followed. If so, the file is written where the link leads, and the link
    /// stays. Otherwise the link itself is replaced, and its target is not changed. A link at a folder's path is always
    /// followed.
    /// </summary>
    /// <value>Default: false.</value>
    public bool FollowLinks { get; init; }

    /// <summary>
    /// Gets whether files that readers would open instead of the new model are removed from an output folder, for
    /// example a model.safetensors beside an index. Also allows replacing an adapter's configuration and weights where
    /// the system cannot replace both in one step. Without this option such a folder is rejected.
    /// </summary>
    /// <value>Default: false.</value>
    public bool Replace { get; init; }

    /// <summary>
    /// Gets whether the caller owns the folder: nobody else writes there, and the caller cleans it up. No lock is
    /// taken, and leftovers of killed runs are not searched for.
    /// </summary>
    internal bool IsOwned { get; init; }

    internal static OutputOptions Default { get; } = new();
}
