using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using FedICU.Files;
using Microsoft.Win32.SafeHandles;

namespace FedICU.Rounds.Sessions;

/// <summary>
/// A session's journal (docs/adr/0009). Lines are only appended, and a line counts once it is flushed to the disk. Each
/// begins with a SHA-256 over itself and all lines before it. The open file is the session's lock. Not thread-safe.
/// </summary>
internal sealed class SessionJournal : IDisposable
{
    public const string FileName = "session.journal";

    // the longest journal that is read, in bytes: chosen, at a few hundred bytes for each client
    private const int MaximumLength = 1 << 30;

    // hexadecimal digits of a checksum
    private const int ChecksumDigits = 2 * SHA256.HashSizeInBytes;

    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private byte[] _checksum = [];
    private long _length;

    /// <summary>Opens a journal and reads its lines.</summary>
    /// <param name="path">The journal.</param>
    /// <param name="create">Whether the journal is created if it is missing.</param>
    /// <param name="lines">
    /// The journal's lines; none if the first was never finished. They are not kept, so that memory does not hold them
    /// twice.
    /// </param>
    /// <exception cref="FedIcuException">The journal cannot be opened, is open elsewhere, or is damaged.</exception>
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
            // if the file is open elsewhere, the system's message says so
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

    /// <summary>
    /// Whether the disk failed while a line was written and again while it was taken back: a restart may find the line
    /// or not.
    /// </summary>
    public bool IsUncertain { get; private set; }

    /// <summary>Takes back a line that may be on the disk. No line may follow it until then.</summary>
    /// <exception cref="FedIcuException">The disk still fails; the call may be repeated.</exception>
    public void Repair()
    {
        if (!IsUncertain)
            return;
        try
        {
            RollBack();
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            throw CreateWriteError(e);
        }

        IsUncertain = false;
    }

    /// <summary>Writes a line and flushes it to the disk.</summary>
    /// <exception cref="FedIcuException">
    /// The line cannot be written. It does not count, unless the journal is now <see cref="IsUncertain"/> and the
    /// process ends before it is repaired.
    /// </exception>
    public void Append(JournalLine line)
    {
        Repair();
        byte[] json = JsonSerializer.SerializeToUtf8Bytes(line, JournalJson.Default.JournalLine);
        byte[] checksum = ComputeChecksum(json);
        byte[] text = [.. Encoding.ASCII.GetBytes(Convert.ToHexStringLower(checksum)), (byte)' ', .. json, (byte)'\n'];
        try
        {
            // also cuts off the rest of a line that was never finished
            RandomAccess.SetLength(_handle, _length + text.Length);
            RandomAccess.Write(_handle, text, _length);
            RandomAccess.FlushToDisk(_handle);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            try
            {
                RollBack();
            }
            catch (Exception again) when (ModelFile.IsFileError(again))
            {
                IsUncertain = true;
            }

            throw CreateWriteError(e);
        }

        (_length, _checksum) = (_length + text.Length, checksum);
    }

    /// <summary>Empties the journal. This ends the session, even if some of its files still exist.</summary>
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
            throw CreateWriteError(e);
        }
    }

    /// <summary>Closes and removes the file of a cleared journal.</summary>
    public void Remove()
    {
        try
        {
            // it is deleted while it is locked, so that it cannot be another process's new journal; Windows deletes
            // only closed files
            if (!OperatingSystem.IsWindows())
                File.Delete(_path);
            _handle.Dispose();
            if (OperatingSystem.IsWindows())
                File.Delete(_path);
        }
        catch (Exception e) when (ModelFile.IsFileError(e))
        {
            // an empty journal is left, which is not a session
            _handle.Dispose();
        }
    }

    public void Dispose() => _handle.Dispose();

    private void RollBack()
    {
        RandomAccess.SetLength(_handle, _length);
        RandomAccess.FlushToDisk(_handle);
    }

    private List<JournalLine> Read()
    {
        long length = ModelFile.LengthOf(_handle, _path);
        if (length > MaximumLength)
            throw new InvalidModelException($"'{_path}' has {length} bytes, above the limit of {MaximumLength}.");
        byte[] bytes = new byte[length];
        ReadOnlySpan<byte> rest = bytes.AsSpan(0, ModelFile.ReadAt(_handle, bytes, 0, _path));
        var lines = new List<JournalLine>();
        for (int end; (end = rest.IndexOf((byte)'\n')) >= 0; rest = rest[(end + 1)..])
        {
            lines.Add(Parse(rest[..end], lines.Count + 1));
            _length += end + 1;
        }

        // a last line without a line feed was not finished when the process ended, so no caller was told that it
        // counts. But if its checksum is right without its last byte, that byte was the line feed and has been changed
        if (!rest.IsEmpty && VerifyChecksum(rest[..^1]) is not null)
            throw CreateDamageError(lines.Count + 1);
        return lines;
    }

    private JournalLine Parse(ReadOnlySpan<byte> text, int number)
    {
        _checksum = VerifyChecksum(text) ?? throw CreateDamageError(number);
        try
        {
            return JsonSerializer.Deserialize(text[(ChecksumDigits + 1)..], JournalJson.Default.JournalLine) ?? throw new JsonException();
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or FormatException)
        {
            // the checksum is right, so another version or another program wrote the line
            throw new InvalidModelException($"'{_path}': line {number} is not in a form that this version of the library writes.", e);
        }
    }

    /// <summary>Verifies the checksum at the beginning of a line; null if it is wrong.</summary>
    private byte[]? VerifyChecksum(ReadOnlySpan<byte> text)
    {
        byte[] checksum = ComputeChecksum(text[Math.Min(ChecksumDigits + 1, text.Length)..]);
        return text.StartsWith(Encoding.ASCII.GetBytes(Convert.ToHexStringLower(checksum) + ' ')) ? checksum : null;
    }

    private InvalidModelException CreateDamageError(int number) =>
        new($"'{_path}' is damaged: line {number} does not agree with its checksum.");

    private byte[] ComputeChecksum(ReadOnlySpan<byte> json) => SHA256.HashData([.. _checksum, .. json]);

    private FedIcuException CreateWriteError(Exception e) => new($"'{_path}' cannot be written: {e.Message}", e);
}
