using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FedICU.Files;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Rounds.Sessions;

/// <summary>
/// A session's journal (docs/adr/0009): lines that are only ever appended, each flushed to the disk before it counts, each with a SHA-256
/// over the line's and all before
/// it. The open file is the session's lock. Not thread-safe.
/// </summary>
internal sealed class SessionJournal : IDisposable
{
    public const string FileName = "session.journal";

    // some hundred bytes a client
    private const int MaxLength = 1 << 30;
    private const int SealDigits = 2 * SHA256.HashSizeInBytes;

    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private byte[] _seal = [];
    private long _length;

    /// <param name="path">The journal.</param>
    /// <param name="create">Whether it is made where there is none.</param>
    /// <param name="lines">
    /// The lines that are there; none where the first was never finished. Not kept, so that memory does not hold them twice.
    /// </param>
    /// <exception cref="FedIcuException">It cannot be opened, is open elsewhere, or is damaged.</exception>
    public SessionJournal(string path, bool create, out List<JournalLine> lines)
    {
        _path = path;
        if (FilePlace.IsSpecial(path))
            throw new FedIcuException($"The session's journal '{path}' is not a regular file.");
        try
        {
            _handle = File.OpenHandle(path, create ? FileMode.OpenOrCreate : FileMode.Open, FileAccess.ReadWrite, FileShare.None);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // where it is open elsewhere, the system's message says so
            throw new FedIcuException($"The session's journal cannot be opened: {e.Message}", e);
        }

        try
        {
            lines = Read();
        }
        catch
        {
            _handle.Dispose();
            throw;
        }
    }

    public bool IsClosed => _handle.IsClosed;

    /// <summary>Writes a line and brings it to the disk.</summary>
    /// <exception cref="FedIcuException">It cannot be written, and does not count.</exception>
    public void Append(JournalLine line)
    {
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(line, JournalJson.Default.JournalLine);
        byte[] seal = Seal(json);
        byte[] text = [.. Encoding.ASCII.GetBytes(Convert.ToHexStringLower(seal)), (byte)' ', .. json, (byte)'\n'];
        try
        {
            // cuts off what a line that was never finished left
            RandomAccess.SetLength(_handle, _length + text.Length);
            RandomAccess.Write(_handle, text, _length);
            RandomAccess.FlushToDisk(_handle);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            try
            {
                RandomAccess.SetLength(_handle, _length);
                RandomAccess.FlushToDisk(_handle);
            }
            catch (Exception again) when (ModelFile.IsFileError(again))
            {
                // it may count or not: no line may follow before the journal was read again
                _handle.Dispose();
            }

            throw CannotWrite(e);
        }

        (_length, _seal) = (_length + text.Length, seal);
    }

    /// <summary>Ends the session: from here on there is none, whatever of its files is still there.</summary>
    /// <exception cref="FedIcuException">The journal cannot be written.</exception>
    public void Clear()
    {
        try
        {
            RandomAccess.SetLength(_handle, 0);
            RandomAccess.FlushToDisk(_handle);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CannotWrite(e);
        }
    }

    /// <summary>Closes and removes the file of a journal that was cleared.</summary>
    public void Remove()
    {
        try
        {
            // while it is locked, so that it is nobody's new one; Windows wants it closed first
            if (!OperatingSystem.IsWindows())
                File.Delete(_path);
            _handle.Dispose();
            if (OperatingSystem.IsWindows())
                File.Delete(_path);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // an empty journal stays, which is no session
            _handle.Dispose();
        }
    }

    public void Dispose() => _handle.Dispose();

    private List<JournalLine> Read()
    {
        long length = ModelFile.LengthOf(_handle, _path);
        if (length > MaxLength)
            throw new InvalidModelException($"'{_path}' has {length} bytes, above the limit of {MaxLength}.");
        byte[] bytes = new byte[length];
        ReadOnlySpan<byte> rest = bytes.AsSpan(0, ModelFile.ReadAt(_handle, bytes, 0, _path));
        var lines = new List<JournalLine>();
        for (int end; (end = rest.IndexOf((byte)'\n')) >= 0; rest = rest[(end + 1)..])
        {
            lines.Add(Parse(rest[..end], lines.Count + 1));
            _length += end + 1;
        }

        // a line without its end was being written when the process was ended: nobody was told that it counts. Where it is whole, its end
        // was changed
        if (!rest.IsEmpty && SealOf(rest[..^1]) is not null)
            throw Damaged(lines.Count + 1);
        return lines;
    }

    private JournalLine Parse(ReadOnlySpan<byte> text, int number)
    {
        _seal = SealOf(text) ?? throw Damaged(number);
        try
        {
            return JsonSerializer.Deserialize(text[(SealDigits + 1)..], JournalJson.Default.JournalLine) ?? throw new JsonException();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            // the checksum agrees: another version wrote it, or another program
            throw new InvalidModelException($"'{_path}': line {number} is none that this version of the library writes.", e);
        }
    }

    /// <summary>The checksum of a line that begins with it; null where it does not.</summary>
    private byte[]? SealOf(ReadOnlySpan<byte> text)
    {
        byte[] seal = Seal(text[Math.Min(SealDigits + 1, text.Length)..]);
        return text.StartsWith(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(seal) + ' ')) ? seal : null;
    }

    private InvalidModelException Damaged(int number) => new($"'{_path}' is damaged: line {number} does not agree with its checksum.");

    private byte[] Seal(ReadOnlySpan<byte> json) => SHA256.HashData([.. _seal, .. json]);

    private FedIcuException CannotWrite(Exception e) => new($"'{_path}' cannot be written: {e.Message}", e);
}
