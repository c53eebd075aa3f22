using System.Buffers.Binary;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace FedICU.Compute;

/// <summary>
/// Standard normal noise N(0,1) by position. A value depends only on the seed, the tensor's name and the element's flat
/// index: they key and count a Philox 4x32-10 generator (Salmon, Moraes, Dror, Shaw 2011).
/// </summary>
internal readonly struct GaussianNoise
{
    // Philox 4x32's multipliers, its key increments and its number of rounds (Salmon et al. 2011)
    private const ulong Multiplier0 = 0xD2511F53;
    private const ulong Multiplier1 = 0xCD9E8D57;
    private const uint Increment0 = 0x9E3779B9;
    private const uint Increment1 = 0xBB67AE85;
    private const int Rounds = 10;

    // the distance between two uniforms of 53 bits, the precision of float64
    private const double UniformUnit = 1.0 / (1L << 53);

    private readonly uint _key0, _key1;
    private readonly ulong _stream;

    /// <summary>Creates the noise of a tensor for a purpose: the stream is named tensor NUL purpose NUL number.</summary>
    public GaussianNoise(long seed, string tensor, string purpose, long number)
        : this(seed, string.Create(CultureInfo.InvariantCulture, $"{tensor}\0{purpose}\0{number}"))
    {
    }

    /// <summary>Creates the noise of a stream; a client's mask names it by its tensor.</summary>
    public GaussianNoise(long seed, string stream)
    {
        byte[] name = Encoding.UTF8.GetBytes(stream);
        byte[] keyed = new byte[sizeof(long) + name.Length];
        BinaryPrimitives.WriteInt64LittleEndian(keyed, seed);
        name.CopyTo(keyed, sizeof(long));
        byte[] hash = SHA256.HashData(keyed);
        _key0 = BinaryPrimitives.ReadUInt32LittleEndian(hash);
        _key1 = BinaryPrimitives.ReadUInt32LittleEndian(hash.AsSpan(4));
        _stream = BinaryPrimitives.ReadUInt64LittleEndian(hash.AsSpan(8));
    }

    /// <summary>Gets the value at a flat index, by the Box-Muller transform of two 53-bit uniforms.</summary>
    public double this[long index]
    {
        get
        {
            (uint c0, uint c1, uint c2, uint c3) = ((uint)index, (uint)((ulong)index >> 32), (uint)_stream, (uint)(_stream >> 32));
            (uint k0, uint k1) = (_key0, _key1);
            for (int round = 0; round < Rounds; round++)
            {
                ulong p0 = Multiplier0 * c0, p1 = Multiplier1 * c2;
                (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
                k0 = unchecked(k0 + Increment0);
                k1 = unchecked(k1 + Increment1);
            }

            // u is above 0, as its logarithm must be finite
            double u = ((((ulong)c0 << 32 | c1) >> 11) + 1) * UniformUnit, v = (((ulong)c2 << 32 | c3) >> 11) * UniformUnit;
            return Math.Sqrt(-2 * Math.Log(u)) * Math.Cos(2 * Math.PI * v);
        }
    }
}
