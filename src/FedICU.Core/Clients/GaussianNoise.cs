using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace FedICU.Clients;

/// <summary>
/// N(0,1) by position: a counter-based generator (Philox 4x32-10; Salmon, Moraes, Dror, Shaw 2011) keyed by seed and tensor name, counting flat
/// indices, so that a value depends on nothing but those three.
/// </summary>
internal readonly struct GaussianNoise
{
    private readonly uint _key0, _key1;
    private readonly ulong _stream;

    public GaussianNoise(long seed, string tensor)
    {
        byte[] name = Encoding.UTF8.GetBytes(tensor);
        byte[] keyed = new byte[sizeof(long) + name.Length];
        BinaryPrimitives.WriteInt64LittleEndian(keyed, seed);
        name.CopyTo(keyed, sizeof(long));
        byte[] hash = SHA256.HashData(keyed);
        _key0 = BinaryPrimitives.ReadUInt32LittleEndian(hash);
        _key1 = BinaryPrimitives.ReadUInt32LittleEndian(hash.AsSpan(4));
        _stream = BinaryPrimitives.ReadUInt64LittleEndian(hash.AsSpan(8));
    }

    /// <summary>The value at a flat index, by Box and Muller from two 53-bit uniforms.</summary>
    public double this[long index]
    {
        get
        {
            (uint c0, uint c1, uint c2, uint c3) = ((uint)index, (uint)((ulong)index >> 32), (uint)_stream, (uint)(_stream >> 32));
            (uint k0, uint k1) = (_key0, _key1);
            for (int round = 0; round < 10; round++)
            {
                ulong p0 = (ulong)0xD2511F53u * c0, p1 = (ulong)0xCD9E8D57u * c2;
                (c0, c1, c2, c3) = ((uint)(p1 >> 32) ^ c1 ^ k0, (uint)p1, (uint)(p0 >> 32) ^ c3 ^ k1, (uint)p0);
                k0 = unchecked(k0 + 0x9E3779B9u);
                k1 = unchecked(k1 + 0xBB67AE85u);
            }

            const double Unit = 1.0 / (1L << 53);
            double u = ((((ulong)c0 << 32 | c1) >> 11) + 1) * Unit, v = (((ulong)c2 << 32 | c3) >> 11) * Unit;
            return Math.Sqrt(-2 * Math.Log(u)) * Math.Cos(2 * Math.PI * v);
        }
    }
}
