using FedICU.Text;

namespace FedICU.Model;

/// <summary>
/// Compares tensor names without the prefixes that wrappers add to all of them
/// (<see cref="RoundOptions.StripPrefixes"/>).
/// </summary>
internal sealed class TensorNames(IReadOnlyList<string> prefixes)
{
    /// <summary>The prefixes that PyTorch's DistributedDataParallel and torch.compile add.</summary>
    public static readonly IReadOnlyList<string> Known = ["module.", "_orig_mod."];

    public IReadOnlyList<string> Prefixes => prefixes;

    /// <summary>Gets whether names are compared as they are.</summary>
    public bool AreExact => prefixes.Count == 0;

    /// <summary>Removes all prefixes from a name, any number of them in any order.</summary>
    public string Strip(string name)
    {
        int start = 0;
        for (int i = 0; i < prefixes.Count; i++)
        {
            string prefix = prefixes[i];
            if (name.Length > start + prefix.Length && name.AsSpan(start).StartsWith(prefix, StringComparison.Ordinal))
                (start, i) = (start + prefix.Length, -1);
        }

        return start == 0 ? name : name[start..];
    }

    /// <summary>Returns a model's tensors by their names without prefixes.</summary>
    /// <exception cref="InvalidModelException">Two tensors have the same name without prefixes.</exception>
    public Dictionary<string, TensorInfo> Index(TensorSource model, IReadOnlyList<TensorInfo> tensors)
    {
        var byName = new Dictionary<string, TensorInfo>(tensors.Count, StringComparer.Ordinal);
        foreach (TensorInfo tensor in tensors)
        {
            if (!byName.TryAdd(Strip(tensor.Name), tensor))
            {
                throw new InvalidModelException(
                    $"'{model.Location}': tensors {Sentence.Quote(byName[Strip(tensor.Name)].Name)} and {Sentence.Quote(tensor.Name)} " +
                    "have the same name without prefixes.");
            }
        }

        return byName;
    }
}
