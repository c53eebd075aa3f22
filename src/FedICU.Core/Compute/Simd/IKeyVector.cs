using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace FedICU.Compute.Simd;

/// <summary>
/// A register V of sort keys: signed integers of an element's size whose order is that of the elements' bits by sign
/// and magnitude. So values are compared and moved in their own type, without widening.
/// </summary>
internal unsafe interface IKeyVector<V>
    where V : unmanaged
{
    /// <summary>Gets the bytes of a vector.</summary>
    static abstract int Bytes { get; }

    /// <summary>Gets the bits of a key.</summary>
    static abstract int Bits { get; }

    static abstract V Load(byte* source);
    static abstract void Store(V value, byte* target);

    /// <summary>Sets all keys to one number's lowest bits.</summary>
    static abstract V Broadcast(long value);

    /// <summary>Converts elements to keys, and keys to elements.</summary>
    static abstract V Convert(V value);

    static abstract V Add(V left, V right);
    static abstract V Minimum(V left, V right);
    static abstract V Maximum(V left, V right);

    /// <summary>Adds 1 to each counter whose key on the left is less than the one on the right.</summary>
    static abstract V CountLess(V counters, V left, V right);

    /// <summary>Selects <paramref name="then"/> where the left key is less than the right one.</summary>
    static abstract V SelectLess(V left, V right, V then, V otherwise);

    /// <summary>Returns whether any key on the left is less than the one on the right.</summary>
    static abstract bool IsAnyLess(V left, V right);
}

/// <summary>Keys in a register of 512 bits.</summary>
internal readonly unsafe struct Keys512<T> : IKeyVector<Vector512<T>>
    where T : unmanaged, IBinaryInteger<T>
{
    public static int Bytes => 64;

    public static int Bits => 8 * sizeof(T);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Load(byte* source) => Vector512.Load((T*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<T> value, byte* target) => value.Store((T*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Broadcast(long value) => Vector512.Create(T.CreateTruncating(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Convert(Vector512<T> value) => value ^ (value >> Bits - 1 & Broadcast(long.MaxValue >> 64 - Bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Add(Vector512<T> left, Vector512<T> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Minimum(Vector512<T> left, Vector512<T> right) => Vector512.Min(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Maximum(Vector512<T> left, Vector512<T> right) => Vector512.Max(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> CountLess(Vector512<T> counters, Vector512<T> left, Vector512<T> right) =>
        Vector512.ConditionalSelect(Vector512.LessThan(left, right), counters + Vector512<T>.One, counters);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> SelectLess(Vector512<T> left, Vector512<T> right, Vector512<T> then, Vector512<T> otherwise) =>
        Vector512.ConditionalSelect(Vector512.LessThan(left, right), then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsAnyLess(Vector512<T> left, Vector512<T> right) => Vector512.LessThanAny(left, right);
}

/// <summary>Keys in a register of 256 bits.</summary>
internal readonly unsafe struct Keys256<T> : IKeyVector<Vector256<T>>
    where T : unmanaged, IBinaryInteger<T>
{
    public static int Bytes => 32;

    public static int Bits => 8 * sizeof(T);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Load(byte* source) => Vector256.Load((T*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<T> value, byte* target) => value.Store((T*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Broadcast(long value) => Vector256.Create(T.CreateTruncating(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Convert(Vector256<T> value) => value ^ (value >> Bits - 1 & Broadcast(long.MaxValue >> 64 - Bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Add(Vector256<T> left, Vector256<T> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Minimum(Vector256<T> left, Vector256<T> right) => Vector256.Min(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Maximum(Vector256<T> left, Vector256<T> right) => Vector256.Max(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> CountLess(Vector256<T> counters, Vector256<T> left, Vector256<T> right) =>
        counters - Vector256.LessThan(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> SelectLess(Vector256<T> left, Vector256<T> right, Vector256<T> then, Vector256<T> otherwise) =>
        Vector256.ConditionalSelect(Vector256.LessThan(left, right), then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsAnyLess(Vector256<T> left, Vector256<T> right) => Vector256.LessThanAny(left, right);
}

/// <summary>Keys in a register of 128 bits.</summary>
internal readonly unsafe struct Keys128<T> : IKeyVector<Vector128<T>>
    where T : unmanaged, IBinaryInteger<T>
{
    public static int Bytes => 16;

    public static int Bits => 8 * sizeof(T);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Load(byte* source) => Vector128.Load((T*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<T> value, byte* target) => value.Store((T*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Broadcast(long value) => Vector128.Create(T.CreateTruncating(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Convert(Vector128<T> value) => value ^ (value >> Bits - 1 & Broadcast(long.MaxValue >> 64 - Bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Add(Vector128<T> left, Vector128<T> right) => left + right;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Minimum(Vector128<T> left, Vector128<T> right) => Vector128.Min(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Maximum(Vector128<T> left, Vector128<T> right) => Vector128.Max(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> CountLess(Vector128<T> counters, Vector128<T> left, Vector128<T> right) =>
        counters - Vector128.LessThan(left, right);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> SelectLess(Vector128<T> left, Vector128<T> right, Vector128<T> then, Vector128<T> otherwise) =>
        Vector128.ConditionalSelect(Vector128.LessThan(left, right), then, otherwise);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool IsAnyLess(Vector128<T> left, Vector128<T> right) => Vector128.LessThanAny(left, right);
}
