namespace FedICU;

/// <summary>How a file or folder takes its place among what is there already (docs/adr/0015).</summary>
public sealed record OutputOptions
{
    /// <summary>
    /// A file that is a symbolic link is written where the link leads, and the link stays. Otherwise the link itself is replaced, and what
    /// it led to keeps its bytes. A link in
    /// the place of a folder always stays.
    /// </summary>
    /// <value>Default: false.</value>
    public bool FollowLinks { get; init; }

    /// <summary>
    /// Removes from an output folder what readers would take for the model in place of the new one, such as a model.safetensors beside an
    /// index, and replaces an adapter's
    /// configuration and weights where the system cannot do both in one step. Otherwise such a folder is refused.
    /// </summary>
    /// <value>Default: false.</value>
    public bool Replace { get; init; }

    /// <summary>
    /// Nobody else writes in that folder, and its owner cleans it: no lock is taken and nothing is looked for that a killed run left.
    /// </summary>
    internal bool IsOwned { get; init; }

    internal static OutputOptions Default { get; } = new();
}
