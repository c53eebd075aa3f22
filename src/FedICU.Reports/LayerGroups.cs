namespace FedICU.Reports;

/// <summary>
/// Groups tensors by layer: the part of a name up to its first number, such as <c>model.layers.7</c>. A name without a
/// number is grouped by all its parts but the last.
/// </summary>
internal sealed class LayerGroups
{
    private LayerGroups(IReadOnlyList<string> names, int[] groups) => (Names, Groups) = (names, groups);

    /// <summary>Gets the names of the groups, in the order of their first tensors.</summary>
    public IReadOnlyList<string> Names { get; }

    /// <summary>Gets the group of each tensor.</summary>
    public int[] Groups { get; }

    public static LayerGroups Of(IEnumerable<string> tensors)
    {
        List<string> names = [];
        var known = new Dictionary<string, int>(StringComparer.Ordinal);
        int[] groups =
        [
            .. tensors.Select(tensor =>
            {
                string name = NameOf(tensor);
                if (known.TryAdd(name, names.Count))
                    names.Add(name);
                return known[name];
            }),
        ];
        return new LayerGroups(names, groups);
    }

    private static string NameOf(string tensor)
    {
        string[] parts = tensor.Split('.');
        int number = Array.FindIndex(parts, part => part.Length > 0 && part.All(char.IsAsciiDigit));
        return number > 0 ? string.Join('.', parts[..(number + 1)]) : parts.Length > 1 ? string.Join('.', parts[..^1]) : tensor;
    }
}
