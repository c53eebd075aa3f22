using System.Text;

namespace FedICU.Fuzz;

/// <summary>
/// Where a generator takes its decisions from. The n-th number of a case is a function of seed, target, case and n alone, so that a case
/// is the same on
/// every machine; or the numbers are bytes that another fuzzer gives.
/// </summary>
internal sealed class Choices
{
    // SplitMix64's increment: odd, from the golden ratio
    private const ulong Gamma = 0x9e3779b97f4a7c15;

    private readonly ulong _key;
    private readonly byte[]? _bytes;
    private ulong _drawn;
    private int _at;

    /// <summary>The choices of one case.</summary>
    public Choices(ulong seed, string target, long number)
    {
        ulong key = Mix(seed + Gamma);
        foreach (byte letter in Encoding.UTF8.GetBytes(target))
            key = Mix(key ^ letter);
        _key = Mix(key ^ (ulong)number);
    }

    /// <summary>Choices that are read from bytes, zeros after their end.</summary>
    public Choices(ReadOnlySpan<byte> bytes) => _bytes = bytes.ToArray();

    /// <summary>64 bits.</summary>
    public ulong Next()
    {
        if (_bytes is null)
            return Mix(_key + ++_drawn * Gamma);
        ulong value = 0;
        for (int i = 0; i < 4 && _at < _bytes.Length; i++)
            value = value << 8 | _bytes[_at++];
        return value;
    }

    /// <summary>From 0 up to, but not, <paramref name="limit"/>.</summary>
    public int Below(int limit) => (int)(Next() % (uint)limit);

    /// <summary>From <paramref name="first"/> to <paramref name="last"/>.</summary>
    public int Between(int first, int last) => first + Below(last - first + 1);

    /// <summary>True once in so many times.</summary>
    public bool OneIn(int times) => Below(times) == 0;

    public T Of<T>(IReadOnlyList<T> values) => values[Below(values.Count)];

    /// <summary>A number from -1 to 1 that float16 holds exactly.</summary>
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
