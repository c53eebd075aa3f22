namespace FedICU.Fedn;

/// <summary>
/// The state that a rule keeps between a combiner's rounds, in files that outlive the process. A round writes the next
/// state beside the present one. The next state takes over when the combiner sends the model that belongs to it: until
/// then the round's model may be lost, or its aggregation tried again.
/// </summary>
internal sealed class CombinerState
{
    private readonly string _folder, _present, _next;

    public CombinerState(string folder, string authority)
    {
        string name = CombinerName.ToFileName(authority);
        _folder = folder;
        _present = Path.Combine(folder, $"{name}.safetensors");
        _next = Path.Combine(folder, $"{name}{CombinerName.Separator}next.safetensors");
    }

    /// <summary>Creates the folder of all combiners' states, or checks an existing one.</summary>
    /// <exception cref="FedIcuException">The folder is not this user's alone, or cannot be written.</exception>
    public static void OpenFolder(string folder) => PrivateFolder.Open(folder, "The state folder");

    /// <summary>Chooses the state of a round.</summary>
    /// <param name="digest">The digest of the round's global model.</param>
    /// <exception cref="FedIcuException">The folder is not this user's alone, or cannot be written.</exception>
    /// <exception cref="IOException">A file of the folder cannot be moved or deleted.</exception>
    /// <exception cref="UnauthorizedAccessException">A file of the folder cannot be moved or deleted.</exception>
    public RoundState Open(string digest)
    {
        OpenFolder(_folder);
        if (File.Exists(_next))
        {
            if (ReadBase(_next) == digest)
                File.Move(_next, _present, overwrite: true);
            else
                File.Delete(_next);
        }

        return File.Exists(_present) ? RoundState.InFile(_present, _next) : RoundState.InFile(_next);
    }

    private static string? ReadBase(string path)
    {
        try
        {
            using TensorSource state = TensorSource.Open(path);
            return state.Metadata.GetValueOrDefault(MetadataKeys.Base);
        }
        catch (InvalidModelException)
        {
            // not a state: it cannot be the global model's
            return null;
        }
    }
}
