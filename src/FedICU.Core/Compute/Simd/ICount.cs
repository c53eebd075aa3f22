namespace FedICU.Compute.Simd;

/// <summary>A number that the JIT compiler knows, as a type argument.</summary>
internal interface ICount
{
    static abstract int Value { get; }
}

internal readonly struct One : ICount
{
    public static int Value => 1;
}

internal readonly struct Two : ICount
{
    public static int Value => 2;
}

internal readonly struct Three : ICount
{
    public static int Value => 3;
}

internal readonly struct Four : ICount
{
    public static int Value => 4;
}

internal readonly struct Five : ICount
{
    public static int Value => 5;
}

internal readonly struct Eight : ICount
{
    public static int Value => 8;
}

internal readonly struct Ten : ICount
{
    public static int Value => 10;
}

internal readonly struct Twelve : ICount
{
    public static int Value => 12;
}

internal readonly struct Sixteen : ICount
{
    public static int Value => 16;
}
