using System.Buffers.Binary;
using System.Text;

namespace FedICU.Tests.Files;

/// <summary>A model in arrays, the simplest source.</summary>
internal sealed class ArrayModel(
    IReadOnlyList<(TensorInfo Tensor, byte[] Data)> content, IReadOnlyDictionary<string, string>? metadata = null) : TensorSource
{
    public override IReadOnlyList<TensorInfo> Tensors { get; } = [.. content.Select(entry => entry.Tensor)];

    public override IReadOnlyDictionary<string, string> Metadata { get; } = metadata ?? new Dictionary<string, string>();

    public override string Location => "memory";

    public byte[] DataOf(string name) => content.Single(entry => entry.Tensor.Name == name).Data;

    public override void Read(TensorInfo tensor, long offset, Span<byte> destination) =>
        DataOf(tensor.Name).AsSpan((int)offset, destination.Length).CopyTo(destination);
}

/// <summary>Models and files for the tests in this folder.</summary>
internal static class TestModels
{
    public static readonly DType[] DTypes = Enum.GetValues<DType>();

    public static readonly IReadOnlyDictionary<string, string> NoMetadata = new Dictionary<string, string>();

    /// <summary>Returns a tensor with pseudo-random bytes that depend only on its name and size.</summary>
    public static (TensorInfo Tensor, byte[] Data) Tensor(string name, DType dtype, params long[] shape)
    {
        var tensor = new TensorInfo(name, dtype, new TensorShape(shape));
        var data = new byte[tensor.ByteLength];
        uint state = (uint)data.Length + 1;
        foreach (char c in name)
            state = state * 31 + c;
        for (int i = 0; i < data.Length; i++)
        {
            state = state * 1664525 + 1013904223;
            data[i] = (byte)(state >> 24);
        }

        return (tensor, data);
    }

    /// <summary>Writes a model to a sink, tensor by tensor.</summary>
    public static void Write(TensorSource model, TensorSink sink)
    {
        sink.Begin(model.Tensors, model.Metadata);
        foreach (TensorInfo tensor in model.Tensors)
            sink.Write(tensor, 0, Data(model, tensor));
        sink.Commit();
    }

    public static byte[] Data(TensorSource model, TensorInfo tensor)
    {
        var data = new byte[tensor.ByteLength];
        model.Read(tensor, 0, data);
        return data;
    }

    /// <summary>Returns the bytes of a file with the given header and number of data bytes.</summary>
    public static byte[] FileOf(string header, int dataLength) => FileOf(Encoding.UTF8.GetBytes(header), dataLength);

    /// <summary>Returns the bytes of a file with the given header and number of data bytes.</summary>
    public static byte[] FileOf(ReadOnlySpan<byte> header, int dataLength)
    {
        var file = new byte[8 + header.Length + dataLength];
        BinaryPrimitives.WriteInt64LittleEndian(file, header.Length);
        header.CopyTo(file.AsSpan(8));
        return file;
    }

    /// <summary>Asserts that both have the same tensors in the same order, with the same bytes and metadata.</summary>
    public static void AssertSame(TensorSource actual, TensorSource expected)
    {
        Assert.That(actual.Tensors, Is.EqualTo(expected.Tensors));
        Assert.That(actual.Metadata, Is.EquivalentTo(expected.Metadata));
        foreach (TensorInfo tensor in expected.Tensors)
            Assert.That(Data(actual, actual.Find(tensor.Name)!).AsSpan().SequenceEqual(Data(expected, tensor)), tensor.Name);
    }
}
