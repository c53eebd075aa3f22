using System.Collections.Frozen;
using System.Text;
using System.Text.Json;
using System.Text.Unicode;
using FedICU.Text;

namespace FedICU.Files;

/// <summary>
/// Parses a safetensors header and rejects it at the first violated rule. Takes time O(n log n) and memory proportional
/// to the header's length, whatever its content.
/// </summary>
internal ref struct HeaderParser(ReadOnlySpan<byte> header, long dataLength, string location)
{
    // shapes; chosen: models have fewer distinct ones
    private const int CachedShapes = 64;

    // characters of a number shown in a message; chosen
    private const int LongestNumber = 40;

    private static readonly byte[][] DTypeNames =
        [.. Enum.GetValues<DType>().Select(dtype => Encoding.UTF8.GetBytes(dtype.SafetensorsName))];

    private readonly ReadOnlySpan<byte> _header = header;
    private readonly List<HeaderEntry> _entries = [];
    private readonly Dictionary<string, int> _index = new(StringComparer.Ordinal);
    private readonly long[] _dimensions = new long[TensorShape.MaxRank];
    private readonly TensorShape[] _shapes = new TensorShape[CachedShapes];
    private Utf8JsonReader _reader = new(header);
    private IReadOnlyDictionary<string, string>? _metadata;
    private string? _tensor; // the tensor whose entry is being read, for messages

    public SafetensorsHeader Parse()
    {
        if (_header.IsEmpty || _header[0] != '{')
            throw Fail($"the header begins with {(_header.IsEmpty ? "nothing" : Byte(_header[0]))}, expected '{{'");
        if (!Utf8.IsValid(_header))
            throw Fail("the header is not valid UTF-8");

        try
        {
            ReadRoot();
        }
        catch (JsonException e)
        {
            throw Fail($"the header is not valid JSON at byte {_reader.BytesConsumed}", e);
        }

        ReadOnlySpan<byte> rest = _header[(int)_reader.BytesConsumed..];
        int excess = rest.IndexOfAnyExcept((byte)' ');
        if (excess >= 0)
            throw Fail($"the header holds {Byte(rest[excess])} at byte {_reader.BytesConsumed + excess}, " +
                "expected nothing but spaces after its end");
        return HeaderArrangement.Arrange(
            _entries, _index, _metadata ?? FrozenDictionary<string, string>.Empty, dataLength, location);
    }

    private void ReadRoot()
    {
        _reader.Read();
        while (Next() == JsonTokenType.PropertyName)
        {
            if (TextIs("__metadata__"u8, "a tensor's name"))
            {
                ReadMetadata();
                continue;
            }

            string name = Text("a tensor's name");
            _tensor = name;
            if (!_index.TryAdd(name, _entries.Count))
                throw FailTensor("is listed twice");
            _entries.Add(ReadEntry(name));
            _tensor = null;
        }
    }

    private void ReadMetadata()
    {
        if (_metadata is not null)
            throw Fail("__metadata__ is listed twice");
        if (Next() != JsonTokenType.StartObject)
            throw Fail($"expected __metadata__ to be an object, found {Found()}");

        var metadata = new PackedMetadata.Builder();
        while (Next() == JsonTokenType.PropertyName)
        {
            Pack(metadata, "a key of __metadata__");
            if (Next() != JsonTokenType.String)
                throw Fail($"expected {Sentence.Quote(metadata.Last)} of __metadata__ to be a string, found {Found()}");
            Pack(metadata, $"{Sentence.Quote(metadata.Last)} of __metadata__");
        }

        _metadata = metadata.Build(out string? twice) ?? throw Fail($"__metadata__ holds {Sentence.Quote(twice!)} twice");
    }

    private void Pack(PackedMetadata.Builder metadata, string what)
    {
        try
        {
            // Unescaping never makes a string longer.
            metadata.Advance(_reader.CopyString(metadata.GetSpan(_reader.ValueSpan.Length)));
        }
        catch (InvalidOperationException e)
        {
            throw UnpairedSurrogate(what, e);
        }
    }

    private HeaderEntry ReadEntry(string name)
    {
        if (Next() != JsonTokenType.StartObject)
            throw FailTensor($"is {Found()}, expected an object");

        DType? dtype = null;
        TensorShape? shape = null;
        (long Start, long End)? offsets = null;
        while (Next() == JsonTokenType.PropertyName)
        {
            if (TextIs("dtype"u8, "a field's name"))
                SetOnce(ref dtype, ReadDType(), "dtype");
            else if (TextIs("shape"u8, "a field's name"))
                SetOnce(ref shape, ReadShape(), "shape");
            else if (TextIs("data_offsets"u8, "a field's name"))
                SetOnce(ref offsets, ReadOffsets(), "data_offsets");
            else
                throw FailTensor($"has the unknown field {Sentence.Quote(Text("a field's name"))}, expected dtype, shape and data_offsets");
        }

        var tensor = new TensorInfo(name, dtype ?? throw FailTensor("has no dtype"), shape ?? throw FailTensor("has no shape"));
        var (start, end) = offsets ?? throw FailTensor("has no data_offsets");
        CheckSize(tensor, start, end);
        return new HeaderEntry(tensor, start, end);
    }

    private readonly void SetOnce<T>(ref T? field, T value, string name) where T : struct
    {
        if (field is not null)
            throw FailTensor($"has the field '{name}' twice");
        field = value;
    }

    private DType ReadDType()
    {
        if (Next() != JsonTokenType.String)
            throw FailTensor($"has {Found()} for its dtype, expected a string");
        for (int i = 0; i < DTypeNames.Length; i++)
        {
            if (_reader.ValueSpan.SequenceEqual(DTypeNames[i]))
                return (DType)i;
        }

        string text = Text("dtype");
        return DTypeExtensions.TryParseSafetensorsName(text, out DType escaped)
            ? escaped
            : throw FailTensor($"has the unknown dtype {Sentence.Quote(text)}");
    }

    private TensorShape ReadShape()
    {
        int rank = ReadNumbers("shape", _dimensions);
        if (rank > _dimensions.Length)
            throw FailTensor($"has more than {_dimensions.Length} dimensions");
        ReadOnlySpan<long> dimensions = _dimensions.AsSpan(0, rank);
        try
        {
            // A model has few distinct shapes; without this cache each tensor would keep its own array.
            ref TensorShape known = ref _shapes[Hash(dimensions) % CachedShapes];
            if (!known.Dimensions.SequenceEqual(dimensions))
                known = new TensorShape(dimensions);
            return known;
        }
        catch (OverflowException e)
        {
            throw FailTensor($"has the shape [{string.Join(", ", dimensions.ToArray())}] of more elements than 64 bits can count", e);
        }
    }

    private static uint Hash(ReadOnlySpan<long> dimensions)
    {
        uint hash = (uint)dimensions.Length;
        foreach (long dimension in dimensions)
            hash = hash * 31 + (uint)dimension;
        return hash;
    }

    private (long Start, long End) ReadOffsets()
    {
        Span<long> numbers = stackalloc long[2];
        int count = ReadNumbers("data_offsets", numbers);
        if (count != 2)
            throw FailTensor($"has {(count > 2 ? "more than 2" : count)} data_offsets, expected 2");
        if (numbers[0] > numbers[1])
            throw FailTensor($"has data_offsets [{numbers[0]}, {numbers[1]}], expected ascending order");
        return (numbers[0], numbers[1]);
    }

    // Returns the number of elements, or one more than the destination's length if there are too many.
    private int ReadNumbers(string field, scoped Span<long> destination)
    {
        if (Next() != JsonTokenType.StartArray)
            throw FailTensor($"has {Found()} for its {field}, expected an array");
        int count = 0;
        for (; Next() != JsonTokenType.EndArray; count++)
        {
            if (count == destination.Length)
                return count + 1;

            // TryGetInt64 may accept 1.0 and 1e2; the format allows only digits.
            if (_reader.TokenType != JsonTokenType.Number || _reader.ValueSpan.ContainsAnyExceptInRange((byte)'0', (byte)'9') ||
                !_reader.TryGetInt64(out destination[count]))
                throw FailTensor($"has {Found()} in its {field}, expected whole numbers from 0 to {long.MaxValue}");
        }

        return count;
    }

    private readonly void CheckSize(TensorInfo tensor, long start, long end)
    {
        Int128 bits = (Int128)tensor.ElementCount * tensor.DType.BitSize;
        if (bits % 8 != 0)
            throw FailTensor($"is {tensor} of {bits} bits, which is not a whole number of bytes");
        if (bits / 8 != end - start)
            throw FailTensor($"is {tensor} of {bits / 8} bytes, but its data_offsets [{start}, {end}] hold {end - start}");
        if (end > dataLength)
            throw FailTensor($"has data_offsets [{start}, {end}], but the file ends after {dataLength} bytes of data");
    }

    private JsonTokenType Next()
    {
        // The text is complete, so the reader throws if it ends too early.
        _reader.Read();
        return _reader.TokenType;
    }

    private string Text(string what)
    {
        try
        {
            return _reader.GetString()!;
        }
        catch (InvalidOperationException e)
        {
            throw UnpairedSurrogate(what, e);
        }
    }

    private bool TextIs(ReadOnlySpan<byte> text, string what)
    {
        try
        {
            return _reader.ValueTextEquals(text);
        }
        catch (InvalidOperationException e)
        {
            throw UnpairedSurrogate(what, e);
        }
    }

    // The reader unescapes a string, and finds an unpaired surrogate, only when the text is requested.
    private readonly InvalidModelException UnpairedSurrogate(string what, Exception e) =>
        Fail($"the header holds an unpaired surrogate at byte {_reader.TokenStartIndex}, in {what}", e);

    private readonly string Found()
    {
        if (_reader.TokenType != JsonTokenType.Number)
            return Sentence.Kind(_reader.TokenType);
        int length = _reader.ValueSpan.Length;
        return length <= LongestNumber ? Encoding.UTF8.GetString(_reader.ValueSpan) : $"a number of {length} characters";
    }

    private static string Byte(byte value) => value is > 0x20 and < 0x7f ? $"'{(char)value}'" : $"byte 0x{value:x2}";

    // The predicate of the sentence; it begins with a verb.
    private readonly InvalidModelException FailTensor(string what, Exception? inner = null) =>
        new($"'{location}': tensor {Sentence.Quote(_tensor!)} {what}.", inner!);

    private readonly InvalidModelException Fail(string what, Exception? inner = null) =>
        new($"'{location}': {what}{(_tensor is null ? "" : $", in the entry of tensor {Sentence.Quote(_tensor)}")}.", inner!);
}
