using System.Buffers;
using System.Security.Cryptography;
using FedICU.Files;
using FedICU.Text;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Rounds.Sessions;

/// <summary>The updates' files in a session's folder.</summary>
internal sealed class SessionSpool(string folder)
{
    private const string Prefix = "update-", Extension = ".safetensors";
    private const int Digits = 16;
    private const int PanelBytes = 1 << 20;

    private static readonly SearchValues<char> HexDigits = SearchValues.Create("0123456789abcdef");

    /// <summary>Whether a session gives such a name: another would lead out of the folder, or to a file that is not an update's.</summary>
    public static bool IsName(string? name)
    {
        if (name is null || !name.StartsWith(Prefix, StringComparison.Ordinal))
            return false;
        ReadOnlySpan<char> rest = name.AsSpan(Prefix.Length);
        return rest.Length >= Digits && !rest[..Digits].ContainsAnyExcept(HexDigits) && rest[Digits..] is "" or Extension;
    }

    /// <summary>A place for an update: no name made of the client's id, which may hold anything, and none that was used before.</summary>
    public string NewPlace(bool isFolder) =>
        PathOf(Prefix + RandomNumberGenerator.GetHexString(Digits, lowercase: true) + (isFolder ? "" : Extension));

    public string PathOf(string name) => Path.Combine(folder, name);

    /// <summary>Makes the folder, or finds it empty.</summary>
    public void Prepare()
    {
        try
        {
            Directory.CreateDirectory(folder);
            if (Directory.EnumerateFileSystemEntries(folder).FirstOrDefault() is { } other)
            {
                throw new FedIcuException(
                    $"The folder '{folder}' holds {Sentence.Quote(Path.GetFileName(other))} and no session; a session needs a folder of its own.");
            }
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw new FedIcuException($"The folder '{folder}' cannot be created: {FileFailure.Describe(e)}.", e);
        }
    }

    /// <summary>The bytes of an update's file, or of an adapter's two files one after the other, and their checksum.</summary>
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

            return (length, "sha256:" + Convert.ToHexStringLower(hash.GetHashAndReset()));
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(panel);
        }
    }

    /// <summary>What is wrong with an update's file, in a sentence; null where it is what the journal says.</summary>
    public string? FindFault(JournalLine line, CancellationToken cancellationToken)
    {
        string path = PathOf(line.File!);
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

    /// <summary>Removes updates, and temporaries of them, that a process left when it was ended.</summary>
    public void RemoveAllBut(HashSet<string> kept)
    {
        foreach (string name in new DirectoryInfo(folder).GetFileSystemInfos().Select(item => item.Name))
        {
            if (name.TrimStart('.').StartsWith(Prefix, StringComparison.Ordinal) && !kept.Contains(name))
                Remove(PathOf(name));
        }
    }

    /// <summary>
    /// Removes an update's file or folder. What cannot be removed is left over: no journal names it, and opening the session tries again.
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
}
