using FedICU.Text;

namespace FedICU.Files;

/// <summary>A tensor of a safetensors header with its data_offsets.</summary>
internal readonly record struct HeaderEntry(TensorInfo Tensor, long Start, long End);

/// <summary>Sorts the entries of a header by their data, which must fill the data section exactly.</summary>
internal static class HeaderArrangement
{
    /// <summary>Checks that the tensors' data follow each other without overlap or gap, up to the last byte.</summary>
    /// <param name="entries">The entries in the header's order; sorted in place.</param>
    /// <param name="index">The place of each tensor in the header; overwritten with its place in the data.</param>
    /// <param name="metadata">The file's metadata.</param>
    /// <param name="dataLength">The length of the data section in bytes.</param>
    /// <param name="location">The file's name in messages.</param>
    /// <exception cref="InvalidModelException">Data overlap, leave a gap or end elsewhere.</exception>
    public static SafetensorsHeader Arrange(
        List<HeaderEntry> entries, Dictionary<string, int> index, IReadOnlyDictionary<string, string> metadata,
        long dataLength, string location)
    {
        if (!IsInOrder(entries))
        {
            // List.Sort is not stable. Tensors without elements may share an offset; they keep the header's order.
            entries.Sort((a, b) =>
                a.Start != b.Start ? a.Start.CompareTo(b.Start) :
                a.End != b.End ? a.End.CompareTo(b.End) : index[a.Tensor.Name].CompareTo(index[b.Tensor.Name]));
        }

        var tensors = new TensorInfo[entries.Count];
        var starts = new long[entries.Count];
        HeaderEntry previous = default;
        for (int i = 0; i < entries.Count; i++)
        {
            HeaderEntry entry = entries[i];
            if (entry.Start < previous.End)
                throw Fail($"tensor {Sentence.Quote(entry.Tensor.Name)} at data_offsets [{entry.Start}, {entry.End}] overlaps tensor " +
                    $"{Sentence.Quote(previous.Tensor.Name)} at [{previous.Start}, {previous.End}]");
            if (entry.Start > previous.End)
                throw Fail($"tensor {Sentence.Quote(entry.Tensor.Name)} starts at byte {entry.Start} of the data, " +
                    $"expected {previous.End}: the bytes between belong to no tensor");
            tensors[i] = entry.Tensor;
            starts[i] = entry.Start;
            previous = entry;
        }

        if (previous.End != dataLength)
            throw Fail($"the tensors take {previous.End} bytes, but the file holds {dataLength} bytes of data");
        for (int i = 0; i < tensors.Length; i++)
            index[tensors[i].Name] = i;
        return new SafetensorsHeader(tensors, starts, index, metadata);

        InvalidModelException Fail(string what) => new($"'{location}': {what}.");
    }

    private static bool IsInOrder(List<HeaderEntry> entries)
    {
        for (int i = 1; i < entries.Count; i++)
        {
            if ((entries[i].Start, entries[i].End).CompareTo((entries[i - 1].Start, entries[i - 1].End)) < 0)
                return false;
        }

        return true;
    }
}
