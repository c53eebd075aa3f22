using System.Text;

namespace FedICU.Fuzz;

/// <summary>
/// The source of a generator's decisions. The n-th number of a case is a function of only seed, target, case and n, so
/// that a case is the same on every machine. Alternatively the numbers come from bytes of another fuzzer.
/// </summary>
internal sealed class Choices
{
    // the increment of SplitMix64, derived from the golden ratio
    private const ulong Gamma = 0x9e3779b97f4a7c15;

    private readonly ulong _key;
    private readonly byte[]? _bytes;
    private ulong _drawn;
    private int _at;

    /// <summary>Creates the choices of one case.</summary>
    public Choices(ulong seed, string target, long number)
    {
        ulong key = Mix(seed + Gamma);
        foreach (byte letter in Encoding.UTF8.GetBytes(target))
            key = Mix(key ^ letter);
        _key = Mix(key ^ (ulong)number);
    }

    /// <summary>Creates choices that read bytes, followed by zeros.</summary>
    public Choices(ReadOnlySpan<byte> bytes) => _bytes = bytes.ToArray();

    /// <summary>Draws 64 bits.</summary>
    public ulong Next()
    {
        if (_bytes is null)
            return Mix(_key + ++_drawn * Gamma);
        ulong value = 0;
        for (int i = 0; i < 4 && _at < _bytes.Length; i++)
            value = value << 8 | _bytes[_at++];
        return value;
    }

    /// <summary>Draws a number of at least 0 and less than <paramref name="limit"/>.</summary>
    public int Below(int limit) => (int)(Next() % (uint)limit);

    /// <summary>Draws a number from <paramref name="first"/> to <paramref name="last"/>, both included.</summary>
    public int Between(int first, int last) => first + Below(last - first + 1);

    /// <summary>Returns true with a probability of 1 / <paramref name="times"/>.</summary>
    public bool OneIn(int times) => Below(times) == 0;

    public T Of<T>(IReadOnlyList<T> values) => values[Below(values.Count)];

    /// <summary>Draws a number from -1 to 1 that float16 represents exactly.</summary>
    public double Value() => (Below(257) - 128) / 128.0;

    public byte[] Bytes(int count)
    {
        byte[] bytes = new byte[count];
        for (int i = 0; i < count; i++)
            bytes[i] = (byte)Next();
        return bytes;
    }

    public void Shuffle<T>(IList<T> values)
    {
        for (int i = values.Count - 1; i > 0; i--)
        {
            int other = Below(i + 1);
            (values[i], values[other]) = (values[other], values[i]);
        }
    }

    private static ulong Mix(ulong value)
    {
        value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
        value = (value ^ value >> 27) * 0x94d049bb133111eb;
        return value ^ value >> 31;
    }
}
