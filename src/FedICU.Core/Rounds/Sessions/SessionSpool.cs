using System.Buffers;
using System.Security.Cryptography;
using FedICU.Files;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Rounds.Sessions;

/// <summary>The updates' files in a session's folder.</summary>
internal sealed class SessionSpool(string folder)
{
    private const string Prefix = "update-";
    private const string Extension = ".safetensors";

    // hexadecimal digits of a file's random name: chosen, 64 bits
    private const int Digits = 16;

    // bytes that are read at a time to compute a checksum: chosen
    private const int PanelBytes = 1 << 20;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    /// <summary>
    /// Whether a name is one that <see cref="NewPlace"/> creates. Any other could lead out of the folder, or to a file
    /// that is not an update.
    /// </summary>
    public static bool IsName(string? name)
    {
        if (name is null || !name.StartsWith(Prefix, StringComparison.Ordinal))
            return false;
        ReadOnlySpan<char> rest = name.AsSpan(Prefix.Length);
        return rest.Length >= Digits && !rest[..Digits].ContainsAnyExcept(HexDigits) && rest[Digits..] is "" or Extension;
    }

    /// <summary>
    /// Creates a random path for an update that was not used before. It does not contain the client's id, which may
    /// hold any characters.
    /// </summary>
    public string NewPlace(bool isFolder) =>
        GetPath(Prefix + RandomNumberGenerator.GetHexString(Digits, lowercase: true) + (isFolder ? "" : Extension));

    /// <summary>Creates the update that a journal's line describes.</summary>
    /// <param name="line">The line.</param>
    /// <param name="fault">Why the update cannot be read; null if it can.</param>
    public ClientUpdate OpenUpdate(JournalLine line, string? fault) =>
        ClientUpdate.FromSpool(line.Add!, GetPath(line.File!), line.Weight, line.Kind, line.Base, line.States, fault);

    /// <summary>Creates the folder.</summary>
    /// <exception cref="FedIcuException">The folder exists and is not empty, or cannot be created.</exception>
    public void Prepare()
    {
        try
        {
            Directory.CreateDirectory(folder);
            if (Directory.EnumerateFileSystemEntries(folder).FirstOrDefault() is { } other)
            {
                throw new FedIcuException(
                    $"The folder '{folder}' holds {Sentence.Quote(Path.GetFileName(other))} and no session; an empty folder was expected.");
            }
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{folder}' cannot be created: {FileFailure.Describe(e)}.", e);
        }
    }

    /// <summary>
    /// Computes the length and the checksum of an update's file, or of an adapter's two files, one after the other.
    /// </summary>
    public static (long Length, string Digest) Measure(string path, CancellationToken cancellationToken)
    {
        string[] files = Directory.Exists(path)
            ? [Path.Combine(path, ModelFolder.AdapterModel), Path.Combine(path, ModelFolder.AdapterConfig)]
            : [path];
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        byte[] panel = ArrayPool<byte>.Shared.Rent(PanelBytes);
        try
        {
            long length = 0;
            foreach (string file in files)
            {
                using SafeFileHandle handle = ModelFile.OpenRead(file);
                int read;
                for (long offset = 0; (read = ModelFile.ReadAt(handle, panel, offset, file)) > 0; offset += read)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    hash.AppendData(panel, 0, read);
                    length += read;
                }
            }

            return (length, FormatDigest(hash));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(panel);
        }
    }

    /// <summary>Writes a checksum as the journal has it.</summary>
    public static string FormatDigest(IncrementalHash hash) => "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset());

    /// <summary>Describes how an update's file differs from the journal; null if it does not.</summary>
    public string? FindFault(JournalLine line, CancellationToken cancellationToken)
    {
        string path = GetPath(line.File!);
        try
        {
            (long length, string digest) = Measure(path, cancellationToken);
            if (length != line.Length)
                return $"'{path}' has {length} bytes; {line.Length} were expected.";
            return digest == line.Digest
                ? null
                : $"'{path}' is damaged: its bytes have the checksum {digest}; {Sentence.Clean(line.Digest!)} was expected.";
        }
        catch (InvalidModelException e)
        {
            return e.Message;
        }
    }

    /// <summary>Removes updates and their temporary files that a process left behind when it ended.</summary>
    /// <param name="kept">The names of the updates that stay.</param>
    public void RemoveAllBut(HashSet<string> kept)
    {
        foreach (string name in new DirectoryInfo(folder).GetFileSystemInfos().Select(item => item.Name))
        {
            if (name.TrimStart('.').StartsWith(Prefix, StringComparison.Ordinal) && !kept.Contains(name))
                Remove(GetPath(name));
        }
    }

    /// <summary>
    /// Removes an update's file or folder. If that fails, it is left behind: it is not in the journal, and opening the
    /// session tries again.
    /// </summary>
    public static void Remove(string path)
    {
        try
        {
            if (Directory.Exists(path))
                Directory.Delete(path, recursive: true);
            else
                File.Delete(path);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
        }
    }

    private string GetPath(string name) => Path.Combine(folder, name);
}
