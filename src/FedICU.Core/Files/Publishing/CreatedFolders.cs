namespace FedICU.Files.Publishing;

/// <summary>
/// The parent folders that were created for an output, so that they can be removed if nothing is written.
/// </summary>
internal sealed class CreatedFolders
{
    // innermost first
    private readonly List<string> _folders = [];

    /// <summary>Creates the missing parents of a path.</summary>
    /// <param name="path">The full path of the output.</param>
    /// <param name="place">The output's name in messages.</param>
    /// <exception cref="FedIcuException">They cannot be created.</exception>
    public void CreateParents(string path, string place)
    {
        try
        {
            string? missing = Path.GetDirectoryName(path);
            for (; missing is not null && !Path.Exists(missing); missing = Path.GetDirectoryName(missing))
                _folders.Add(missing);
            if (_folders.Count > 0)
                Directory.CreateDirectory(_folders[0]);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{place}' cannot be created: {FileFailure.Describe(e)}.", e);
        }
    }

    /// <summary>Removes the folders that are still empty. Never throws.</summary>
    public void Remove()
    {
        foreach (string folder in _folders)
        {
            try
            {
                Directory.Delete(folder);
            }
            catch (Exception e) when (ModelFile.IsFileError(e))
            {
                // The folder was not created, or another process has put a file into it.
            }
        }
    }
}
