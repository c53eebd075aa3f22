using System.Text;

namespace FedICU.Files;

/// <summary>What a file may be in place of the one expected, told from its first bytes.</summary>
internal static class FileHint
{
    private const string SaveWithTorch = "save its tensors with safetensors.torch.save_file";

    /// <summary>The first bytes of formats that are taken for models, and what to do about each.</summary>
    private static readonly (byte[] Start, string Hint)[] Formats =
    [
        ([.. "version "u8], "a Git LFS pointer does: 'git lfs pull' fetches the file itself"),
        ([.. "PK"u8, 3, 4],
            $"a zip archive does, such as PyTorch's .bin and .pt or numpy's .npz: {SaveWithTorch} or safetensors.numpy.save_file"),
        ([0x80, 2], $"a Python pickle does, such as PyTorch's .bin and .pt: {SaveWithTorch}"),
        ([0x80, 3], $"a Python pickle does: {SaveWithTorch}"),
        ([0x80, 4], $"a Python pickle does: {SaveWithTorch}"),
        ([0x80, 5], $"a Python pickle does: {SaveWithTorch}"),
        ([.. "GGUF"u8], "a GGUF file does: take the safetensors files that it was made from"),
        ([0x93, .. "NUMPY"u8], "a numpy .npy file does: save its array with safetensors.numpy.save_file"),
        ([0x89, .. "HDF"u8], "an HDF5 file does, such as Keras's .h5: save its tensors with safetensors.numpy.save_file"),
        ([0x1f, 0x8b], "a gzip file does: unpack it first"),
    ];

    // five characters, as only eight bytes of a model are at hand and white space may come first
    private static readonly string[] Pages = ["<!DOC", "<html", "<head", "<body", "<?xml"];

    /// <summary>The end of a sentence that refuses a file, without its full stop; empty where the bytes say nothing.</summary>
    /// <param name="start">The file's first bytes: 8 are enough.</param>
    /// <param name="expectsJson">Whether the file should be JSON text.</param>
    public static string After(ReadOnlySpan<byte> start, bool expectsJson)
    {
        foreach ((byte[] format, string hint) in Formats)
        {
            if (start.StartsWith(format))
                return $"; it begins as {hint}";
        }

        string text = Encoding.Latin1.GetString(start[..Math.Min(start.Length, 64)].TrimStart(" \t\r\n"u8));
        if (Array.Exists(Pages, page => text.StartsWith(page, StringComparison.OrdinalIgnoreCase)))
            return "; it begins as a web page does, which servers send in place of a file: download it again";
        return text.StartsWith('{') && !expectsJson ? "; it begins as JSON text does, such as an index or a server's error message" : "";
    }
}
