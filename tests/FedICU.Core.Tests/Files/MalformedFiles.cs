using FedICU.Files;
using static FedICU.Tests.Files.TestModels;

namespace FedICU.Tests.Files;

/// <summary>Malformed files by the rule that they violate, each with the end of its error message.</summary>
internal static class MalformedFiles
{
    // The file's name in the expected messages.
    public const string Here = "x.safetensors";

    private const string NumberRule = "expected whole numbers from 0 to 9223372036854775807";

    private static readonly (string Json, string Words)[] Values =
        [("null", "null"), ("true", "a boolean"), ("12", "12"), ("\"s\"", "a string"), ("[]", "an array"), ("{}", "an object")];

    public sealed record Case(byte[] File, string Sentence);

    public static IEnumerable<Case> All() =>
    [
        .. Lengths(), .. Starts(), .. Encodings(), .. Syntax(), .. Surrogates(), .. Entries(), .. DTypeCases(), .. Shapes(), .. Offsets(),
        .. Sizes(), .. Coverage(), .. MetadataCases(),
    ];

    /// <summary>Parses the header of a file and returns the error message, or null if it is valid.</summary>
    public static string? Parse(byte[] file)
    {
        try
        {
            int length = SafetensorsHeader.CheckLength(file.AsSpan(0, Math.Min(8, file.Length)), file.Length, Here);
            SafetensorsHeader.Parse(file.AsSpan(8, length), file.Length - 8 - length, Here);
            return null;
        }
        catch (InvalidModelException e)
        {
            return e.Message;
        }
    }

    private static Case With(string header, int dataLength, string sentence) => new(FileOf(header, dataLength), sentence);

    // A file with a single tensor that has these fields.
    private static Case Tensor(string fields, int dataLength, string what) =>
        With($$$"""{"w":{{{{fields}}}}}""", dataLength, $": tensor 'w' {what}.");

    private static IEnumerable<Case> Lengths()
    {
        for (int length = 0; length < 8; length++)
            yield return new(new byte[length],
                $" has {(length == 1 ? "1 byte" : $"{length} bytes")}, fewer than the 8 bytes of the header length.");
        yield return new(new byte[8], " has a header of 0 bytes.");
        yield return new([.. new byte[8], (byte)'{', (byte)'}'], " has a header of 0 bytes.");
        foreach (ulong length in (ulong[])[100_000_001, uint.MaxValue, 1ul << 32, long.MaxValue, 1ul << 63, ulong.MaxValue - 7,
            ulong.MaxValue])
            yield return new([.. BitConverter.GetBytes(length), (byte)'{', (byte)'}'],
                $" is not a safetensors file: its first 8 bytes give a header of {length} bytes, above the limit of 100000000.");
        foreach (ulong length in (ulong[])[3, 4, 1000, 100_000_000])
            yield return new([.. BitConverter.GetBytes(length), (byte)'{', (byte)'}'],
                $" has a header of {length} bytes, but only 2 bytes follow its length.");
        yield return new(BitConverter.GetBytes(2L), " has a header of 2 bytes, but only 0 bytes follow its length.");
    }

    private static IEnumerable<Case> Starts()
    {
        foreach (var (header, found) in ((string, string)[])[
            (" {}", "byte 0x20"), ("\n{}", "byte 0x0a"), ("\0{}", "byte 0x00"), ("\ufeff{}", "byte 0xef"), ("[]", "'['"), ("null", "'n'"),
                ("\"a\"", "'\"'"), ("1", "'1'"), ("}", "'}'")])
            yield return With(header, 0, $": the header begins with {found}, expected '{{'.");
        yield return new([.. BitConverter.GetBytes(3L), 0x80, 2, (byte)'.'],
            ": the header begins with byte 0x80, expected '{'."); // a pickle
    }

    private static IEnumerable<Case> Encodings()
    {
        byte[][] broken = [[0x80], [0xff], [0xc3], [0xc0, 0xaf], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf],
            [0xf4, 0x90, 0x80, 0x80], [0xf8, 0x88, 0x80, 0x80, 0x80]];
        foreach (byte[] bytes in broken)
        {
            yield return new(FileOf([.. "{\""u8, .. bytes, .. "\":{\"dtype\":\"U8\",\"shape\":[],\"data_offsets\":[0,1]}}"u8], 1),
                ": the header is not valid UTF-8.");
            yield return new(FileOf([.. "{\"__metadata__\":{\"k\":\""u8, .. bytes, .. "\"}}"u8], 0), ": the header is not valid UTF-8.");
        }

        yield return new(FileOf([.. "{}"u8, 0xff], 0), ": the header is not valid UTF-8.");
    }

    private static IEnumerable<Case> Syntax()
    {
        foreach (var (header, at) in ((string, int)[])[
            ("{,}", 1), ("{\"a\"}", 4), ("{a:{}}", 1), ("{'a':{}}", 1), ("{\"__metadata__\":}", 16), ("{\"__metadata__\"::{}}", 16),
                ("{\"a\" {}}", 5), ("{1:{}}", 1), ("{null:{}}", 1), ("{{}}", 1),
            ("{]", 1), ("{ ", 2), ("{/**/}", 1), ("{//\n}", 1), ("{#\n}", 1), ("{\"__metadata__\":{},}", 19),
                ("{\"__metadata__\":{}\"w\":{}}", 18),
            ("{\"__metadata__\":{\"a\":\"\n\"}}", 21), ("{\"__metadata__\":{\"a\":\"\t\"}}", 21), ("{\"__metadata__\":{\"a\":\"\0\"}}", 21),
                ("{\"__metadata__\":{\"a\":\"\\x\"}}", 21),
            ("{\"__metadata__\":{\"a\":\"\\u12\"}}", 21), ("{\"__metadata__\":{\"a\":\"\\'\"}}", 21),
                ("{\"__metadata__\":{\"a\":\"b}}", 21), ("{\"__metadata__\":{\"a\":NaN}}", 21),
            ("{\"__metadata__\":{\"a\":undefined}}", 21), ("{\"__metadata__\":{\"a\":\"b\",}}", 25), ("{\"__metadata__\":{\"a\":\"b\"", 24),
                ("{\"__metadata__\":{\"a\":\"b\"}", 25), ("{\"__metadata__\":{]}", 17)])
            yield return With(header, 0, $": the header is not valid JSON at byte {at}.");

        foreach (string number in (string[])["NaN", "Infinity", "-Infinity", "+1", "01", "00", ".5", "1.", "1e", "0x10", "1_000", "--1",
            "-", "'1'", "1 2", "True", "nul", "/*1*/2", "1,", ",1", ",", "}"])
        {
            Case shape = With($$$"""{"w":{"shape":[{{{number}}}],"dtype":"U8","data_offsets":[0,1]}}""", 1, "");
            string? found = Parse(shape.File);
            bool isRejected = found is not null &&
                found.StartsWith($"'{Here}': the header is not valid JSON at byte ", StringComparison.Ordinal) &&
                found.EndsWith(", in the entry of tensor 'w'.", StringComparison.Ordinal);
            yield return shape with { Sentence = isRejected ? found![(Here.Length + 2)..] : ": not rejected as JSON" };
        }

        foreach (var (tail, found) in ((string, string)[])[("x", "'x'"), ("\n", "byte 0x0a"), ("\t", "byte 0x09"), ("\0", "byte 0x00"),
            ("}", "'}'"), ("{}", "'{'"), (",", "','"), ("\u00a0", "byte 0xc2")])
        {
            yield return With("{}" + tail, 0, $": the header holds {found} at byte 2, expected nothing but spaces after its end.");
            yield return With("{}   " + tail + "  ", 0,
                $": the header holds {found} at byte 5, expected nothing but spaces after its end.");
        }
    }

    private static IEnumerable<Case> Surrogates()
    {
        foreach (string half in (string[])[@"\ud800", @"\udc00", @"\udfff", @"\ud800\ud800", @"\udc00\ud800", @"\ud83dx", @"\ud83d\n"])
        {
            yield return With($$$"""{"{{{half}}}":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}""", 1,
                ": the header holds an unpaired surrogate at byte 1, in a tensor's name.");
            yield return With($$$"""{"__metadata__":{"{{{half}}}":"v"}}""", 0,
                ": the header holds an unpaired surrogate at byte 17, in a key of __metadata__.");
            yield return With($$$"""{"__metadata__":{"k":"{{{half}}}"}}""", 0,
                ": the header holds an unpaired surrogate at byte 21, in 'k' of __metadata__.");
            yield return With($$$"""{"w":{"dtype":"{{{half}}}"}}""", 0,
                ": the header holds an unpaired surrogate at byte 14, in dtype, in the entry of tensor 'w'.");
            yield return With($$$"""{"w":{"{{{half}}}":1}}""", 0,
                ": the header holds an unpaired surrogate at byte 6, in a field's name, in the entry of tensor 'w'.");
        }
    }

    private static IEnumerable<Case> Entries()
    {
        foreach (var (json, words) in Values[..^1])
            yield return With($$"""{"w":{{json}}}""", 0, $": tensor 'w' is {words}, expected an object.");
        yield return With("""{"w":[[[[[[[[[[[[]]]]]]]]]]]]}""", 0, ": tensor 'w' is an array, expected an object.");

        yield return Tensor("", 1, "has no dtype");
        yield return Tensor(""" "shape":[],"data_offsets":[0,1]""", 1, "has no dtype");
        yield return Tensor(""" "dtype":"U8","data_offsets":[0,1]""", 1, "has no shape");
        yield return Tensor(""" "dtype":"U8","shape":[]""", 1, "has no data_offsets");

        foreach (string field in (string[])["\"dtype\":\"U8\"", "\"shape\":[]", "\"data_offsets\":[0,1]"])
            yield return Tensor($""" "dtype":"U8","shape":[],"data_offsets":[0,1],{field}""", 1,
                $"has the field '{field.Split('"')[1]}' twice");
        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[0,1],"\u0064type":"U8" """, 1, "has the field 'dtype' twice");

        foreach (string field in (string[])["", "Dtype", "DTYPE", "dtype ", "Shape", "shapes", "offsets", "data_offset", "strides",
            "__metadata__", "w"])
            yield return Tensor($""" "dtype":"U8","shape":[],"data_offsets":[0,1],"{field}":0""", 1,
                $"has the unknown field '{field}', expected dtype, shape and data_offsets");

        const string Good = """{"dtype":"U8","shape":[],"data_offsets":[0,1]}""";
        yield return With($$"""{"w":{{Good}},"w":{{Good}}}""", 1, ": tensor 'w' is listed twice.");
        yield return With($$"""{"w":{{Good}},"\u0077":{{Good}}}""", 1, ": tensor 'w' is listed twice.");
        yield return With($$$"""{"w":{{{Good}}},"v":{"dtype":"U8","shape":[],"data_offsets":[1,2]},"w":[]}""", 2,
            ": tensor 'w' is listed twice.");
        yield return With($$"""{"":{{Good}},"":{{Good}}}""", 1, ": tensor '' is listed twice.");

        // Names in messages are cut and have no control characters.
        yield return With($$"""{"{{new string('n', 300)}}":1}""", 0,
            $": tensor '{new string('n', 98)}...{new string('n', 98)}' is 1, expected an object.");
        yield return With("""{"\u001b[31m":1}""", 0, @": tensor '\u001b[31m' is 1, expected an object.");
    }

    private static IEnumerable<Case> DTypeCases()
    {
        foreach (var (json, words) in Values.Where(value => value.Words != "a string"))
            yield return Tensor($""" "dtype":{json},"shape":[],"data_offsets":[0,1]""", 1, $"has {words} for its dtype, expected a string");
        foreach (string name in (string[])["", "f32", "F33", " F32", "F32 ", "FLOAT", "float32", "I128", "U4", "bool", "Bool", "F8",
            "F8_E4M3FN", "F6", "F128", "BF8", "C128", "NULL"])
            yield return Tensor($""" "dtype":"{name}","shape":[],"data_offsets":[0,1]""", 1, $"has the unknown dtype '{name}'");
    }

    private static readonly string[] NoWholeNumbers =
        ["-1", "-0", "1.0", "0.0", "1.5", "1e0", "1E2", "1e-1", "9223372036854775808", "18446744073709551615", "18446744073709551616",
            "1e400", "-9223372036854775808"];

    private static readonly (string Json, string Words)[] NoNumbers = [("null", "null"), ("true", "a boolean"), ("false", "a boolean"),
        ("\"2\"", "a string"), ("[2]", "an array"), ("{}", "an object")];

    private static IEnumerable<Case> Shapes()
    {
        foreach (var (json, words) in Values.Where(value => value.Words != "an array"))
            yield return Tensor($""" "dtype":"U8","shape":{json},"data_offsets":[0,1]""", 1,
                $"has {words} for its shape, expected an array");
        foreach (var (json, words) in NoWholeNumbers.Select(text => (text, text)).Concat(NoNumbers))
        {
            yield return Tensor($""" "dtype":"U8","shape":[{json}],"data_offsets":[0,1]""", 1, $"has {words} in its shape, {NumberRule}");
            yield return Tensor($""" "dtype":"U8","shape":[1,{json},1],"data_offsets":[0,1]""", 1,
                $"has {words} in its shape, {NumberRule}");
        }

        yield return Tensor($""" "dtype":"U8","shape":[{new string('9', 50)}],"data_offsets":[0,1]""", 1,
            $"has a number of 50 characters in its shape, {NumberRule}");
        foreach (string shape in (string[])["9223372036854775807, 2", "4294967296, 4294967296", "3037000500, 3037000500",
            "2, 4611686018427387904", "2097152, 2097152, 2097152", "0, 9223372036854775807, 3"])
            yield return Tensor($""" "dtype":"U8","shape":[{shape}],"data_offsets":[0,0]""", 0,
                $"has the shape [{shape}] of more elements than 64 bits can count");
        yield return Tensor($""" "dtype":"U8","shape":[{string.Join(",", Enumerable.Repeat(1, 65))}],"data_offsets":[0,1]""", 1,
            "has more than 64 dimensions");
    }

    private static IEnumerable<Case> Offsets()
    {
        foreach (var (json, words) in Values.Where(value => value.Words != "an array"))
            yield return Tensor($""" "dtype":"U8","shape":[],"data_offsets":{json}""", 1,
                $"has {words} for its data_offsets, expected an array");
        foreach (var (json, words) in NoWholeNumbers.Select(text => (text, text)).Concat(NoNumbers))
        {
            yield return Tensor($""" "dtype":"U8","shape":[],"data_offsets":[{json},1]""", 1,
                $"has {words} in its data_offsets, {NumberRule}");
            yield return Tensor($""" "dtype":"U8","shape":[],"data_offsets":[0,{json}]""", 1,
                $"has {words} in its data_offsets, {NumberRule}");
        }

        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[]""", 1, "has 0 data_offsets, expected 2");
        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[0]""", 1, "has 1 data_offsets, expected 2");
        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[0,1,2]""", 1, "has more than 2 data_offsets, expected 2");
        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[0,1,2,3]""", 1, "has more than 2 data_offsets, expected 2");
        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[1,0]""", 1, "has data_offsets [1, 0], expected ascending order");
        yield return Tensor(""" "dtype":"U8","shape":[],"data_offsets":[9223372036854775807,0]""", 1,
            "has data_offsets [9223372036854775807, 0], expected ascending order");
    }

    private static IEnumerable<Case> Sizes()
    {
        foreach (DType dtype in DTypes)
        {
            int bytes = dtype.BitSize; // for 8 elements
            foreach (int found in (int[])[0, bytes - 1, bytes + 1])
                yield return Tensor($""" "dtype":"{dtype.SafetensorsName}","shape":[8],"data_offsets":[0,{found}]""", found,
                    $"is {dtype.SafetensorsName} [8] of {bytes} bytes, but its data_offsets [0, {found}] hold {found}");
        }

        foreach (var (dtype, elements) in ((string, int)[])[("F4", 1), ("F4", 3), ("F4", 7), ("F6_E2M3", 1), ("F6_E2M3", 2), ("F6_E2M3", 3),
            ("F6_E3M2", 2), ("F6_E3M2", 5)])
        {
            int bits = elements * (dtype == "F4" ? 4 : 6);
            yield return Tensor($""" "dtype":"{dtype}","shape":[{elements}],"data_offsets":[0,{(bits + 7) / 8}]""", (bits + 7) / 8,
                $"is {dtype} [{elements}] of {bits} bits, which is not a whole number of bytes");
        }

        // More bytes than 64 bits can count.
        yield return Tensor(""" "dtype":"F64","shape":[9223372036854775807],"data_offsets":[0,8]""", 8,
            "is F64 [9223372036854775807] of 73786976294838206456 bytes, but its data_offsets [0, 8] hold 8");
        yield return Tensor(""" "dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]""", 0,
            "is F32 [4611686018427387904] of 18446744073709551616 bytes, but its data_offsets [0, 0] hold 0");
        yield return Tensor(""" "dtype":"F32","shape":[],"data_offsets":[0,0]""", 0,
            "is F32 [] of 4 bytes, but its data_offsets [0, 0] hold 0");
        yield return Tensor(""" "dtype":"F32","shape":[0,5],"data_offsets":[0,4]""", 4,
            "is F32 [0, 5] of 0 bytes, but its data_offsets [0, 4] hold 4");
    }

    private static IEnumerable<Case> Coverage()
    {
        foreach (int there in (int[])[0, 1, 7])
            yield return Tensor(""" "dtype":"F32","shape":[2],"data_offsets":[0,8]""", there,
                $"has data_offsets [0, 8], but the file ends after {there} bytes of data");
        yield return Tensor(""" "dtype":"F32","shape":[2],"data_offsets":[4,12]""", 8,
            "has data_offsets [4, 12], but the file ends after 8 bytes of data");
        yield return Tensor(""" "dtype":"U8","shape":[0],"data_offsets":[9,9]""", 8,
            "has data_offsets [9, 9], but the file ends after 8 bytes of data");
        yield return Tensor(""" "dtype":"U8","shape":[1000000000000],"data_offsets":[0,1000000000000]""", 8,
            "has data_offsets [0, 1000000000000], but the file ends after 8 bytes of data");

        static string Two(int a0, int a1, int b0, int b1, bool swapped = false)
        {
            string a = $$"""  "a":{"dtype":"U8","shape":[{{a1 - a0}}],"data_offsets":[{{a0}},{{a1}}]}""",
                b = $$""" "b":{"dtype":"U8","shape":[{{b1 - b0}}],"data_offsets":[{{b0}},{{b1}}]}""";
            return swapped ? $"{{{b},{a}}}" : $"{{{a},{b}}}";
        }

        foreach (bool swapped in (bool[])[false, true])
        {
            yield return With(Two(0, 4, 3, 8, swapped), 8, ": tensor 'b' at data_offsets [3, 8] overlaps tensor 'a' at [0, 4].");
            yield return With(Two(0, 8, 2, 4, swapped), 8, ": tensor 'b' at data_offsets [2, 4] overlaps tensor 'a' at [0, 8].");
            yield return With(Two(0, 8, 4, 4, swapped), 8, ": tensor 'b' at data_offsets [4, 4] overlaps tensor 'a' at [0, 8].");
            yield return With(Two(0, 4, 0, 8, swapped), 8, ": tensor 'b' at data_offsets [0, 8] overlaps tensor 'a' at [0, 4].");
            yield return With(Two(0, 4, 5, 8, swapped), 8,
                ": tensor 'b' starts at byte 5 of the data, expected 4: the bytes between belong to no tensor.");
            yield return With(Two(0, 4, 8, 8, swapped), 8,
                ": tensor 'b' starts at byte 8 of the data, expected 4: the bytes between belong to no tensor.");
            yield return With(Two(1, 4, 4, 8, swapped), 8,
                ": tensor 'a' starts at byte 1 of the data, expected 0: the bytes between belong to no tensor.");
            yield return With(Two(0, 4, 4, 7, swapped), 8, ": the tensors take 7 bytes, but the file holds 8 bytes of data.");
        }

        yield return With(Two(0, 4, 0, 4), 4, ": tensor 'b' at data_offsets [0, 4] overlaps tensor 'a' at [0, 4].");
        yield return With(Two(0, 4, 0, 4, swapped: true), 4, ": tensor 'a' at data_offsets [0, 4] overlaps tensor 'b' at [0, 4].");
        foreach (int bytes in (int[])[1, 8, 1000])
        {
            yield return With("{}", bytes, $": the tensors take 0 bytes, but the file holds {bytes} bytes of data.");
            yield return With("""{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}""", bytes,
                $": the tensors take 0 bytes, but the file holds {bytes} bytes of data.");
        }
    }

    private static IEnumerable<Case> MetadataCases()
    {
        foreach (var (json, words) in Values[..^1])
            yield return With($$"""{"__metadata__":{{json}}}""", 0, $": expected __metadata__ to be an object, found {words}.");
        foreach (var (json, words) in Values.Where(value => value.Words != "a string"))
        {
            yield return With($$$"""{"__metadata__":{"k":{{{json}}}}}""", 0,
                $": expected 'k' of __metadata__ to be a string, found {words}.");
            yield return With($$$"""{"__metadata__":{"j":"v","k":{{{json}}}}}""", 0,
                $": expected 'k' of __metadata__ to be a string, found {words}.");
        }

        yield return With("""{"__metadata__":{},"__metadata__":{}}""", 0, ": __metadata__ is listed twice.");
        yield return With("""{"__metadata__":{},"\u005f_metadata__":{}}""", 0, ": __metadata__ is listed twice.");
        yield return With("""{"__metadata__":{"a":"1","a":"1"}}""", 0, ": __metadata__ holds 'a' twice.");
        yield return With("""{"__metadata__":{"a":"1","b":"","\u0061":"2"}}""", 0, ": __metadata__ holds 'a' twice.");
        yield return With("""{"__metadata__":{"dtype":"U8","shape":[],"data_offsets":[0,1]}}""", 1,
            ": expected 'shape' of __metadata__ to be a string, found an array.");
    }
}
