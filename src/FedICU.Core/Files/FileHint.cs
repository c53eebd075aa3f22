using System.Text;

namespace FedICU.Files;

/// <summary>Recognizes, from the first bytes of a file, a format that was given instead of the expected one.</summary>
internal static class FileHint
{
    private const string SaveWithTorch = "save its tensors with safetensors.torch.save_file";

    /// <summary>The first bytes of formats that people give as models, what each is, and what to do about it.</summary>
    private static readonly (byte[] Start, string Hint)[] Formats =
    [
        ([.. "version "u8], "a Git LFS pointer: run 'git lfs pull' to fetch the file"),
        ([.. "PK"u8, 3, 4],
            $"a zip archive, such as PyTorch's .bin and .pt or numpy's .npz: {SaveWithTorch} or safetensors.numpy.save_file"),
        ([0x80, 2], $"a Python pickle, such as PyTorch's .bin and .pt: {SaveWithTorch}"),
        ([0x80, 3], $"a Python pickle: {SaveWithTorch}"),
        ([0x80, 4], $"a Python pickle: {SaveWithTorch}"),
        ([0x80, 5], $"a Python pickle: {SaveWithTorch}"),
        ([.. "GGUF"u8], "a GGUF file: use the safetensors files that it was made from"),
        ([0x93, .. "NUMPY"u8], "a numpy .npy file: save its array with safetensors.numpy.save_file"),
        ([0x89, .. "HDF"u8], "an HDF5 file, such as Keras's .h5: save its tensors with safetensors.numpy.save_file"),
        ([0x1f, 0x8b], "a gzip file: unpack it first"),
    ];

    // Five characters: only 8 bytes of the file are known, and they may start with white space.
    private static readonly string[] Pages = ["<!DOC", "<html", "<head", "<body", "<?xml"];

    /// <summary>
    /// Returns the end of an error sentence, without its full stop, or an empty string if the bytes match no known
    /// format.
    /// </summary>
    /// <param name="start">The file's first bytes; 8 are enough.</param>
    /// <param name="expectsJson">Whether the file was expected to be JSON text.</param>
    public static string Describe(ReadOnlySpan<byte> start, bool expectsJson)
    {
        foreach ((byte[] format, string hint) in Formats)
        {
            if (start.StartsWith(format))
                return $"; it looks like {hint}";
        }

        // bytes of the start that are tested; chosen to leave room for white space
        const int LongestStart = 64;
        string text = Encoding.Latin1.GetString(start[..Math.Min(start.Length, LongestStart)].TrimStart(" \t\r\n"u8));
        if (Array.Exists(Pages, page => text.StartsWith(page, StringComparison.OrdinalIgnoreCase)))
            return "; it looks like a web page, which servers send instead of a file: download it again";
        return text.StartsWith('{') && !expectsJson ? "; it looks like JSON, such as an index or a server's error message" : "";
    }
}
