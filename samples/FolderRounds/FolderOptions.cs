namespace FolderRounds;

/// <summary>Options of the worker that watches a folder.</summary>
internal sealed class FolderOptions
{
    /// <summary>The folder that contains the global model, inbox, done and failed.</summary>
    public string Path { get; set; } = "";

    /// <summary>
    /// The global model's file in <see cref="Path"/>. It must be a single file, which can be replaced atomically.
    /// </summary>
    public string Global { get; set; } = "global.safetensors";

    /// <summary>
    /// A round that has the aggregator's <c>quorum</c> of updates starts without a file <c>ready</c> when its folder
    /// has not changed for this time. <value>Default: null, never.</value>
    /// </summary>
    public TimeSpan? QuietTime { get; set; }

    /// <summary>
    /// The time between two scans of the inbox. Scans work on every file system and after a restart; change
    /// notifications get lost on network shares.
    /// </summary>
    public TimeSpan Poll { get; set; } = TimeSpan.FromSeconds(1);
}
