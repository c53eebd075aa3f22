using System.Collections;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>
/// A file's metadata, stored as UTF-8 in one array. For many short strings, a dictionary of strings would take ten
/// times the memory. Entries are enumerated in the file's order and found by binary search.
/// </summary>
internal sealed class PackedMetadata : IReadOnlyDictionary<string, string>
{
    private readonly byte[] _text;
    // The start of each key and each value alternately, then the end of the last value.
    private readonly int[] _starts;
    // The entries' numbers, sorted by the bytes of their keys.
    private readonly int[] _byKey;

    // the numbers of entries that are not shown
    private readonly int[] _hidden;

    private PackedMetadata(byte[] text, int[] starts, int[] byKey, params int[] hidden) =>
        (_text, _starts, _byKey, _hidden) = (text, starts, byKey, hidden);

    public int Count => _byKey.Length - _hidden.Length;

    public IEnumerable<string> Keys => Entries.Select(i => Encoding.UTF8.GetString(Key(i)));

    public IEnumerable<string> Values => Entries.Select(i => Encoding.UTF8.GetString(Value(i)));

    private IEnumerable<int> Entries => Enumerable.Range(0, _byKey.Length).Where(i => !_hidden.Contains(i));

    public string this[string key] =>
        TryGetValue(key, out string? value) ? value : throw new KeyNotFoundException($"The metadata has no key {Sentence.Quote(key)}.");

    /// <summary>Returns the same metadata, sharing its memory, without the given keys.</summary>
    public PackedMetadata Without(params ReadOnlySpan<string> keys)
    {
        var hidden = new List<int>(_hidden);
        foreach (string key in keys)
        {
            if (TryFind(key, out int entry))
                hidden.Add(entry);
        }

        return hidden.Count == _hidden.Length ? this : new PackedMetadata(_text, _starts, _byKey, [.. hidden]);
    }

    public bool ContainsKey(string key) => TryFind(key, out _);

    public bool TryGetValue(string key, [MaybeNullWhen(false)] out string value)
    {
        value = TryFind(key, out int entry) ? Encoding.UTF8.GetString(Value(entry)) : null;
        return value is not null;
    }

    public IEnumerator<KeyValuePair<string, string>> GetEnumerator() => Keys.Zip(Values, KeyValuePair.Create).GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    private ReadOnlySpan<byte> Key(int entry) => _text.AsSpan(_starts[2 * entry], _starts[2 * entry + 1] - _starts[2 * entry]);

    private ReadOnlySpan<byte> Value(int entry) =>
        _text.AsSpan(_starts[2 * entry + 1], _starts[2 * entry + 2] - _starts[2 * entry + 1]);

    private bool TryFind(string key, out int entry)
    {
        // An unpaired surrogate becomes a replacement character here, but no key of a file contains one.
        byte[] wanted = Encoding.UTF8.GetBytes(key);
        int first = 0, end = _byKey.Length;
        while (first < end)
        {
            int middle = (first + end) / 2, order = Key(_byKey[middle]).SequenceCompareTo(wanted);
            if (order == 0)
            {
                entry = _byKey[middle];
                return Sentence.IsUnicode(key) && !_hidden.Contains(entry);
            }

            (first, end) = order < 0 ? (middle + 1, end) : (first, middle);
        }

        entry = -1;
        return false;
    }

    /// <summary>
    /// Returns a file's metadata without the keys that describe the file instead of the model. Metadata that were not
    /// read from a file are returned unchanged.
    /// </summary>
    public static IReadOnlyDictionary<string, string> WithoutFileKeys(IReadOnlyDictionary<string, string> metadata) =>
        metadata is PackedMetadata packed ? packed.Without(MetadataKeys.Generation, MetadataKeys.Config) : metadata;

    /// <summary>Collects the entries one after the other.</summary>
    public sealed class Builder
    {
        private readonly List<int> _starts = [0];
        private byte[] _text = new byte[256];
        private int _length;

        /// <summary>
        /// Returns room for a text of at most <paramref name="bytes"/> bytes. Call <see cref="Advance"/> after writing
        /// to it.
        /// </summary>
        public Span<byte> GetSpan(int bytes)
        {
            if (_text.Length - _length < bytes)
                Array.Resize(ref _text, Math.Max(_length + bytes, (int)Math.Min(2L * _text.Length, Array.MaxLength)));
            return _text.AsSpan(_length);
        }

        /// <summary>Ends a key or a value that takes the given number of bytes.</summary>
        public void Advance(int bytes) => _starts.Add(_length += bytes);

        /// <summary>Gets the text that was added last.</summary>
        public string Last => Encoding.UTF8.GetString(_text.AsSpan(_starts[^2].._starts[^1]));

        /// <summary>Returns the metadata, or null and the duplicate key.</summary>
        public PackedMetadata? Build(out string? twice)
        {
            int[] starts = [.. _starts], byKey = new int[starts.Length / 2];
            var metadata = new PackedMetadata(_text.AsSpan(0, _length).ToArray(), starts, byKey);
            for (int i = 0; i < byKey.Length; i++)
                byKey[i] = i;
            byKey.AsSpan().Sort((a, b) => metadata.Key(a).SequenceCompareTo(metadata.Key(b)));
            for (int i = 1; i < byKey.Length; i++)
            {
                if (metadata.Key(byKey[i]).SequenceEqual(metadata.Key(byKey[i - 1])))
                {
                    twice = Encoding.UTF8.GetString(metadata.Key(byKey[i]));
                    return null;
                }
            }

            twice = null;
            return metadata;
        }
    }
}
