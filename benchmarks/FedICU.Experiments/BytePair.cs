using System.Runtime.InteropServices;
using System.Text;

namespace FedICU.Experiments;

/// <summary>
/// A byte-level byte-pair encoding (Sennrich et al. 2016). Tokens 0 to 255 are the bytes, and every further token is a
/// pair of earlier tokens.
/// </summary>
internal sealed class BytePair
{
    /// <summary>The number of tokens; chosen.</summary>
    public const int Vocabulary = 1024;

    // bytes of the longest piece; chosen: longer than most words, and text without spaces is still encoded in linear
    // time
    private const int LongestPiece = 24;

    private readonly Dictionary<(int Left, int Right), int> _merges = [];
    private readonly int[] _bytes = new int[Vocabulary];
    private readonly Dictionary<string, int[]> _known = new(StringComparer.Ordinal);

    public BytePair(IReadOnlyList<(int Left, int Right)> merges)
    {
        Merges = merges;
        Array.Fill(_bytes, 1, 0, 256);
        foreach ((int i, (int Left, int Right) pair) in merges.Index())
        {
            _merges.Add(pair, 256 + i);
            _bytes[256 + i] = _bytes[pair.Left] + _bytes[pair.Right];
        }
    }

    public IReadOnlyList<(int Left, int Right)> Merges { get; }

    /// <summary>Returns the number of bytes that a token encodes.</summary>
    public int BytesOf(int token) => _bytes[token];

    /// <summary>
    /// Learns the most frequent pairs of a text. Of equally frequent pairs the smaller one comes first.
    /// </summary>
    public static BytePair Train(ReadOnlySpan<byte> text)
    {
        var counts = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (string piece in Pieces(text))
            CollectionsMarshal.GetValueRefOrAddDefault(counts, piece, out _)++;
        (List<int> Tokens, int Count)[] pieces = [.. counts.Where(pair => pair.Value > 1)
            .OrderBy(pair => pair.Key, StringComparer.Ordinal).Select(pair => (pair.Key.Select(c => (int)c).ToList(), pair.Value))];
        var merges = new List<(int, int)>();
        var pairs = new Dictionary<(int, int), int>();
        while (merges.Count < Vocabulary - 256)
        {
            pairs.Clear();
            foreach ((List<int> tokens, int count) in pieces)
            {
                for (int i = 1; i < tokens.Count; i++)
                    CollectionsMarshal.GetValueRefOrAddDefault(pairs, (tokens[i - 1], tokens[i]), out _) += count;
            }

            if (pairs.Count == 0)
                break;
            (int, int) best = pairs.OrderByDescending(pair => pair.Value).ThenBy(pair => pair.Key).First().Key;
            foreach ((List<int> tokens, _) in pieces)
                Merge(tokens, best, 256 + merges.Count);
            merges.Add(best);
        }

        return new BytePair(merges);
    }

    public int[] Encode(ReadOnlySpan<byte> text)
    {
        var tokens = new List<int>();
        foreach (string piece in Pieces(text))
        {
            if (!_known.TryGetValue(piece, out int[]? encoded))
                _known.Add(piece, encoded = EncodePiece(piece));
            tokens.AddRange(encoded);
        }

        return [.. tokens];
    }

    private int[] EncodePiece(string piece)
    {
        List<int> tokens = [.. piece.Select(c => (int)c)];
        while (true)
        {
            int first = int.MaxValue;
            (int, int) pair = default;
            for (int i = 1; i < tokens.Count; i++)
            {
                if (_merges.TryGetValue((tokens[i - 1], tokens[i]), out int merged) && merged < first)
                    (first, pair) = (merged, (tokens[i - 1], tokens[i]));
            }

            if (first == int.MaxValue)
                return [.. tokens];
            Merge(tokens, pair, first);
        }
    }

    private static void Merge(List<int> tokens, (int Left, int Right) pair, int merged)
    {
        int kept = 0;
        for (int i = 0; i < tokens.Count; i++)
        {
            bool both = i + 1 < tokens.Count && tokens[i] == pair.Left && tokens[i + 1] == pair.Right;
            tokens[kept++] = both ? merged : tokens[i];
            i += both ? 1 : 0;
        }

        tokens.RemoveRange(kept, tokens.Count - kept);
    }

    /// <summary>
    /// Splits a text into words, each with the space before it, and runs of other bytes. Each byte becomes a char of
    /// the same number.
    /// </summary>
    private static List<string> Pieces(ReadOnlySpan<byte> text)
    {
        var pieces = new List<string>();
        int start = 0;
        for (int i = 1; i <= text.Length; i++)
        {
            bool continues = i < text.Length && i - start < LongestPiece &&
                (IsWord(text[i]) == IsWord(text[i - 1]) || (i - 1 == start && text[start] == ' '));
            if (continues)
                continue;
            pieces.Add(Encoding.Latin1.GetString(text[start..i]));
            start = i;
        }

        return pieces;

        static bool IsWord(byte b) => char.IsAsciiLetterOrDigit((char)b) || b >= 128;
    }
}
