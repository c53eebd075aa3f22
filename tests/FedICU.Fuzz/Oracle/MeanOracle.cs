using System.Buffers.Binary;
using System.Globalization;
using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Oracle;

/// <summary>
/// Computes the weighted mean of a round from the updates' bytes, without the library, and checks the library's result
/// against it.
/// </summary>
internal static class MeanOracle
{
    /// <summary>The weight of an update and its parameters for each float tensor of the global model.</summary>
    public sealed record Update(double Weight, IReadOnlyDictionary<string, double[]> Parameters);

    /// <summary>Reads an update that the library accepted.</summary>
    /// <param name="file">The file, which is valid by the format's rules.</param>
    /// <param name="global">The global model that the update refers to.</param>
    public static Update Read(byte[] file, ModelDraft global)
    {
        Verdict verdict = SafetensorsOracle.Judge(file);
        int data = file.Length - (int)verdict.Tensors.Select(tensor => tensor.End).DefaultIfEmpty().Max();
        IReadOnlyDictionary<string, string> metadata = verdict.Metadata;
        string kind = metadata.GetValueOrDefault("fedicu.update") ?? "full";
        var parameters = new Dictionary<string, double[]>(StringComparer.Ordinal);
        foreach (TensorDraft tensor in global.Tensors.Where(tensor => tensor.DType.Contains('F')))
        {
            double[] received = Decode(tensor.DType, tensor.Data);
            parameters[tensor.Name] = kind switch
            {
                "delta" => [.. Values(tensor.Name).Zip(received, (change, value) => value + change)],
                "sparse" when verdict.Tensors.All(other => other.Name != tensor.Name) => Unpack(
                    received, Bytes(tensor.Name + "#mask").ToArray(), Values(tensor.Name + "#values")),
                _ => Values(tensor.Name),
            };
        }

        return new Update(double.Parse(metadata["num_examples"], NumberStyles.Float, CultureInfo.InvariantCulture), parameters);

        ReadOnlySpan<byte> Bytes(string name)
        {
            OracleTensor tensor = verdict.Tensors.First(other => other.Name == name);
            return file.AsSpan(data + (int)tensor.Start, (int)(tensor.End - tensor.Start));
        }

        double[] Values(string name) => Decode(verdict.Tensors.First(tensor => tensor.Name == name).DType, Bytes(name));
    }

    /// <summary>Decodes the elements of a float type.</summary>
    public static double[] Decode(string type, ReadOnlySpan<byte> data)
    {
        int size = ModelDraft.Types.First(known => known.Name == type).Bits / 8;
        double[] values = new double[data.Length / size];
        for (int i = 0; i < values.Length; i++)
        {
            ReadOnlySpan<byte> element = data.Slice(i * size, size);
            values[i] = type switch
            {
                "F64" => BinaryPrimitives.ReadDoubleLittleEndian(element),
                "F32" => BinaryPrimitives.ReadSingleLittleEndian(element),
                "F16" => (double)BinaryPrimitives.ReadHalfLittleEndian(element),
                "BF16" => BitConverter.UInt32BitsToSingle((uint)BinaryPrimitives.ReadUInt16LittleEndian(element) << 16),
                _ => throw new ArgumentException($"{type} is no float type.", nameof(type)),
            };
        }

        return values;
    }

    /// <summary>
    /// Fails unless the output's float tensors equal the weighted means of the clients' within one unit in the last
    /// place of their type.
    /// </summary>
    public static void Check(byte[] output, ModelDraft global, IReadOnlyList<Update> clients)
    {
        double sum = clients.Sum(client => client.Weight);
        int at = 0;
        foreach (TensorDraft tensor in global.Tensors)
        {
            ReadOnlySpan<byte> bytes = output.AsSpan(at, tensor.Data.Length);
            at += tensor.Data.Length;
            if (!tensor.DType.Contains('F'))
                continue;
            double[] found = Decode(tensor.DType, bytes);
            for (int i = 0; i < found.Length; i++)
            {
                double mean = clients.Sum(client => client.Weight / sum * client.Parameters[tensor.Name][i]);
                double scale = clients.Max(client => Math.Abs(client.Parameters[tensor.Name][i]));
                // the rounding of the output, and the rounding of the float64 sum, which is relative to the largest
                // summand
                double allowed = Math.Max(Math.Abs(mean), Smallest(tensor.DType)) * Unit(tensor.DType) + scale * Math.ScaleB(1, -48);
                if (!(Math.Abs(found[i] - mean) <= allowed))
                {
                    throw new FuzzFailure(
                        string.Create(CultureInfo.InvariantCulture,
                            $"element {i} of '{tensor.Name}' is {found[i]:R}; the mean is {mean:R}"), "another mean");
                }
            }
        }
    }

    private static double[] Unpack(double[] received, byte[] mask, double[] values)
    {
        double[] whole = [.. received];
        int taken = 0;
        for (int i = 0; i < whole.Length; i++)
        {
            if ((mask[i / 8] >> i % 8 & 1) != 0)
                whole[i] = values[taken++];
        }

        return whole;
    }

    /// <summary>The relative size of one unit in the last place.</summary>
    private static double Unit(string type) => type switch
    {
        "F64" => Math.ScaleB(1, -52),
        "F32" => Math.ScaleB(1, -23),
        "F16" => Math.ScaleB(1, -10),
        _ => Math.ScaleB(1, -7),
    };

    /// <summary>The smallest normal number, below which the unit in the last place is constant.</summary>
    private static double Smallest(string type) => type switch
    {
        "F64" => Math.ScaleB(1, -1022),
        "F16" => Math.ScaleB(1, -14),
        _ => Math.ScaleB(1, -126),
    };
}
