using System.Collections;
using System.Diagnostics.CodeAnalysis;
using FedICU.Text;

namespace FedICU.Files.Publishing;

/// <summary>
/// A read-only view of the metadata on which several files agree. An entry that differs between two files describes a
/// single file and is left out.
/// </summary>
internal sealed class AgreedMetadata(IReadOnlyList<IReadOnlyDictionary<string, string>> files) : IReadOnlyDictionary<string, string>
{
    public int Count => Entries().Count();

    public IEnumerable<string> Keys => Entries().Select(entry => entry.Key);

    public IEnumerable<string> Values => Entries().Select(entry => entry.Value);

    public string this[string key] =>
        TryGetValue(key, out string? value) ? value : throw new KeyNotFoundException($"The metadata has no key {Sentence.Quote(key)}.");

    public bool ContainsKey(string key) => TryGetValue(key, out _);

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out string value)
    {
        value = null;
        foreach (IReadOnlyDictionary<string, string> file in files)
        {
            if (!file.TryGetValue(key, out string? own))
                continue;
            if (value is not null && value != own)
            {
                value = null;
                return false;
            }

            value = own;
        }

        return value is not null;
    }

    public IEnumerator<KeyValuePair<string, string>> GetEnumerator() => Entries().GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private IEnumerable<KeyValuePair<string, string>> Entries()
    {
        for (int i = 0; i < files.Count; i++)
        {
            foreach (string key in files[i].Keys)
            {
                // Each key is returned once, at its first occurrence.
                if (!files.Take(i).Any(earlier => earlier.ContainsKey(key)) && TryGetValue(key, out string? value))
                    yield return new(key, value);
            }
        }
    }
}
