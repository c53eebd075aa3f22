using System.Text;
using FedICU.Files;

namespace FedICU.Tests.Files;

/// <summary>If a file of another format is given as a model, the message names the format.</summary>
internal sealed class FileHintTests
{
    private const string Lfs =
        "version https://git-lfs.github.com/spec/v1\n" +
        "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\nsize 12345\n";
    private const string LfsHint = "; it looks like a Git LFS pointer: run 'git lfs pull' to fetch the file.";
    private const string PageHint = "; it looks like a web page, which servers send instead of a file: download it again.";

    private static readonly TestCaseData[] Files =
    [
        Case("Git LFS pointer", Encoding.UTF8.GetBytes(Lfs), LfsHint),
        Case("HTML", "<!DOCTYPE html>\n<html></html>"u8.ToArray(), PageHint),
        Case("HTML in small letters", "<!doctype html>"u8.ToArray(), PageHint),
        Case("HTML without a type", "<html lang=\"en\"><body>"u8.ToArray(), PageHint),
        Case("HTML after lines", "\r\n\n<HTML>"u8.ToArray(), PageHint),
        Case("XML", "<?xml version=\"1.0\"?><Error>"u8.ToArray(), PageHint),
        Case("PyTorch's zip", [.. "PK"u8, 3, 4, 0, 0, 8, 8, .. "archive/data.pkl"u8],
            "; it looks like a zip archive, such as PyTorch's .bin and .pt or numpy's .npz: save its tensors with " +
            "safetensors.torch.save_file or safetensors.numpy.save_file."),
        Case("npz", [.. "PK"u8, 3, 4, 45, 0, 0, 0, .. "0.npy"u8],
            "; it looks like a zip archive, such as PyTorch's .bin and .pt or numpy's .npz: save its tensors with " +
            "safetensors.torch.save_file or safetensors.numpy.save_file."),
        Case("PyTorch's old pickle", [0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20],
            "; it looks like a Python pickle, such as PyTorch's .bin and .pt: save its tensors with safetensors.torch.save_file."),
        Case("pickle", [0x80, 4, 0x95, 0x10, 0, 0, 0, 0, 0, 0, 0],
            "; it looks like a Python pickle: save its tensors with safetensors.torch.save_file."),
        Case("GGUF", [.. "GGUF"u8, 3, 0, 0, 0, 1], "; it looks like a GGUF file: use the safetensors files that it was made from."),
        Case("npy", [0x93, .. "NUMPY"u8, 1, 0, 0x76, 0],
            "; it looks like a numpy .npy file: save its array with safetensors.numpy.save_file."),
        Case("HDF5", [0x89, .. "HDF\r\n"u8, 0x1a, 0x0a],
            "; it looks like an HDF5 file, such as Keras's .h5: save its tensors with safetensors.numpy.save_file."),
        Case("gzip", [0x1f, 0x8b, 8, 0, 1, 2, 3, 4, 5], "; it looks like a gzip file: unpack it first."),
    ];

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("fedicu-hint-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    [TestCaseSource(nameof(Files))]
    public void AnotherFormatIsNamedInEveryPlaceOfAModel(byte[] bytes, string hint)
    {
        string model = Write(ModelFolder.SingleFile), index = Write(ModelFolder.ShardIndex),
            config = Write(Path.Combine("adapter", ModelFolder.AdapterConfig));
        Assert.That(Refusal(model), Does.Match($"^'{model}' (is not a safetensors file|has )").And.EndsWith(hint));
        Assert.That(Refusal(index), Does.StartWith($"'{index}' is not valid ").And.EndsWith(hint));
        Assert.That(Refusal(Path.GetDirectoryName(config)!), Does.StartWith($"'{config}' is not valid JSON: ").And.EndsWith(hint));

        string Write(string name)
        {
            string path = Path.Combine(_folder, name);
            Directory.CreateDirectory(Path.GetDirectoryName(path)!);
            File.WriteAllBytes(path, bytes);
            return path;
        }
    }

    [TestCase("<html>", "has 6 bytes, fewer than the 8 bytes of the header length" + PageHint)]
    [TestCase("{\"error\": \"Repository not found\"}",
        "above the limit of 100000000; it looks like JSON, such as an index or a server's error message.")]
    [TestCase("no format at all", "above the limit of 100000000.")]
    public void JsonIsRecognizedAndUnknownBytesGiveNoHint(string text, string end)
    {
        string path = Path.Combine(_folder, "a.safetensors");
        File.WriteAllText(path, text);
        Assert.That(Refusal(path), Does.EndWith(end));
    }

    [Test]
    public void MalformedJsonGetsNoHint()
    {
        string path = Path.Combine(_folder, ModelFolder.ShardIndex);
        File.WriteAllText(path, "{\"weight_map\": ");
        Assert.That(Refusal(path), Is.EqualTo($"'{path}' is not valid JSON at byte 15."));
    }

    private static string Refusal(string path) => Assert.Throws<InvalidModelException>(() => TensorSource.Open(path))!.Message;

    private static TestCaseData Case(string name, byte[] bytes, string hint) => new TestCaseData(bytes, hint).SetArgDisplayNames(name);
}
