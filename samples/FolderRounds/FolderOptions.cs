namespace FolderRounds;

/// <summary>Which folder is watched, and how.</summary>
internal sealed class FolderOptions
{
    /// <summary>The folder that holds the global model, inbox, done and failed.</summary>
    public string Path { get; set; } = "";

    /// <summary>The global model's file, under <see cref="Path"/>: one file, for only that is replaced whole.</summary>
    public string Global { get; set; } = "global.safetensors";

    /// <summary>
    /// A round with the aggregator's <c>quorum</c> of updates begins without a file <c>ready</c> when so long nothing has changed.
    /// <value>Default: null, never.</value>
    /// </summary>
    public TimeSpan? QuietTime { get; set; }

    /// <summary>
    /// How often is looked. Looking works on every file system and after every restart; notices of changes get lost on shares.
    /// </summary>
    public TimeSpan Poll { get; set; } = TimeSpan.FromSeconds(1);
}
