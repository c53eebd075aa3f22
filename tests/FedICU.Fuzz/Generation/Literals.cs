using System.Globalization;

namespace FedICU.Fuzz.Generation;

/// <summary>Values at the limits of what readers accept.</summary>
internal static class Literals
{
    /// <summary>Literals of numbers.</summary>
    public static readonly string[] Numbers =
    [
        "0", "1", "2", "7", "8", "-1", "-0", "00", "1.0", "1e2", "0.5", "1e400", "-1e400", "1e-400", "2147483647", "2147483648",
        "4294967296", "9007199254740992",
        "9007199254740993", "9223372036854775800", "9223372036854775801", "9223372036854775807", "9223372036854775808",
        "18446744073709551615", "18446744073709551616", "3037000500", "123456789012345678901234567890", "NaN", "Infinity",
    ];

    /// <summary>Texts that are difficult for readers and messages.</summary>
    public static readonly string[] Texts =
    [
        "", " ", "a", "weight", "__metadata__", "F32", "\ud800", "\udc00x", "a\ud83d", "\ud83d\ude00", "a\0b", "a\nb", "\u001b[31mred",
        "\u202eevil\u202c", "\u2066x\u2069", "a\u2028b", "\u200f", "\u0085", "\ufeff",
        "\u00e9", "e\u0301", "it's", "\"", "\\", "../up", "a/b", "null", "NaN", "-5", "inf", "1e400", "1e308", "0", "12", "[2, 3]", "[]",
        "[-1]", "[9223372036854775801]", "[4294967296, 4294967296]", "sha256:0",
        "full", "delta", "sparse", "momentum", "LORA", new string('x', 300), new string('\u4e2d', 3000),
    ];

    /// <summary>Draws any value, to replace another.</summary>
    public static Json Any(Choices choices) => choices.Below(9) switch
    {
        0 => Json.Value("null"),
        1 => Json.Value(choices.OneIn(2) ? "true" : "false"),
        2 => Json.Object(),
        3 => Json.Array(),
        4 => Nested(choices.Of([2, 20, 63, 64, 65, 130, 250]), choices.OneIn(2)),
        5 => Json.Array(Enumerable.Repeat(0, choices.Of([1, 2, 64, 65, 500])).Select(_ => Json.Value(choices.OneIn(2) ? "1" : "0"))),
        6 => Json.Object(("a", Json.Value("1")), ("a", Json.Value("2"))),
        7 => Json.Value(Number(choices)),
        _ => Json.Text(Text(choices)),
    };

    public static string Number(Choices choices) =>
        choices.OneIn(5) ? ((long)choices.Next()).ToString(CultureInfo.InvariantCulture) : choices.Of(Numbers);

    public static string Text(Choices choices) =>
        choices.OneIn(6) ? string.Concat(Enumerable.Range(0, choices.Below(12)).Select(_ => (char)choices.Below(0x10000)))
            : choices.Of(Texts);

    private static Json Nested(int depth, bool arrays)
    {
        Json nested = Json.Value("1");
        for (int i = 0; i < depth; i++)
            nested = arrays ? Json.Array(nested) : Json.Object(("k", nested));
        return nested;
    }
}
