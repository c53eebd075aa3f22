using System.Buffers.Binary;
using System.Collections.Frozen;
using System.Globalization;
using System.Text;
using FedICU.Text;

namespace FedICU.Fedn.Npz;

/// <summary>
/// The header of a .npy file, formats 1 to 3: magic bytes, version, length, and a Python dictionary of type, order and
/// shape.
/// </summary>
internal static class NpyHeader
{
    /// <summary>The bytes of the magic, the version, and the header's length in version 1.</summary>
    public const int PrefixLength = 10;

    // bytes; numpy's own limit for files that are not trusted
    private const int MaxLength = 10_000;

    // dimensions; numpy's limit since version 2.0
    private const int MaxRank = 64;

    // bytes; numpy pads headers so that the data start at a multiple of this
    private const int Alignment = 64;

    private static ReadOnlySpan<byte> Magic => [0x93, (byte)'N', (byte)'U', (byte)'M', (byte)'P', (byte)'Y'];

    private static readonly (string Name, DType DType)[] Table =
    [
        ("<f8", DType.F64), ("<f4", DType.F32), ("<f2", DType.F16), ("<c8", DType.C64), ("|b1", DType.Bool),
        ("<i8", DType.I64), ("<i4", DType.I32), ("<i2", DType.I16), ("|i1", DType.I8),
        ("<u8", DType.U64), ("<u4", DType.U32), ("<u2", DType.U16), ("|u1", DType.U8),
    ];

    private static readonly FrozenDictionary<string, (DType DType, int SwappedWidth)> Types = Table
        .Select(entry => (entry.Name, (entry.DType, 0)))
        .Concat(Table.Where(entry => entry.Name[0] == '<').Select(entry => ('>' + entry.Name[1..], (entry.DType, Width(entry.DType)))))
        .ToFrozenDictionary(entry => entry.Item1, entry => entry.Item2, StringComparer.Ordinal);

    private static readonly FrozenDictionary<DType, string> Names = Table.ToFrozenDictionary(entry => entry.DType, entry => entry.Name);

    /// <summary>Reads a header from the start of a stream.</summary>
    /// <param name="stream">The file.</param>
    /// <param name="tensor">The tensor's name.</param>
    /// <exception cref="InvalidModelException">
    /// It is not the header of an array of numbers. The message is the end of a sentence that begins with the model's
    /// name.
    /// </exception>
    public static NpyArray Read(Stream stream, string tensor)
    {
        Span<byte> prefix = stackalloc byte[PrefixLength + 2];
        int read = stream.ReadAtLeast(prefix[..PrefixLength], PrefixLength, throwOnEndOfStream: false);
        if (read < PrefixLength || !prefix.StartsWith(Magic))
            throw Wrong(tensor, "does not begin with a .npy header");
        int version = prefix[6], size = BinaryPrimitives.ReadUInt16LittleEndian(prefix[8..]);
        int length = PrefixLength;
        if (version is < 1 or > 3 || prefix[7] != 0)
            throw Wrong(tensor, $"is a .npy file of version {version}.{prefix[7]}; 1.0, 2.0 or 3.0 was expected");
        if (version > 1)
        {
            length += 2;
            if (stream.ReadAtLeast(prefix[PrefixLength..], 2, throwOnEndOfStream: false) < 2)
                throw Wrong(tensor, "ends inside its .npy header");
            uint wide = BinaryPrimitives.ReadUInt32LittleEndian(prefix[8..]);
            size = wide > MaxLength ? MaxLength + 1 : (int)wide;
        }

        if (size > MaxLength)
            throw Wrong(tensor, $"has a .npy header of more than {MaxLength} bytes");
        byte[] text = new byte[size];
        if (stream.ReadAtLeast(text, size, throwOnEndOfStream: false) < size)
            throw Wrong(tensor, "ends inside its .npy header");
        (TensorInfo info, int swappedWidth) = Parse(new Reader(Encoding.Latin1.GetString(text), tensor, mayBeOld: version < 3));
        return new NpyArray(info, length + size, swappedWidth);
    }

    /// <summary>Makes a header of version 1 for a tensor, padded like numpy's.</summary>
    /// <exception cref="FedIcuException">numpy has no such type.</exception>
    public static byte[] Write(TensorInfo tensor)
    {
        if (!Names.TryGetValue(tensor.DType, out string? type))
        {
            throw new FedIcuException(
                $"Tensor {Sentence.Quote(tensor.Name)} has the type {tensor.DType.SafetensorsName}; numpy has no such type.");
        }

        string[] dimensions =
            [.. tensor.Shape.Dimensions.ToArray().Select(dimension => dimension.ToString(CultureInfo.InvariantCulture))];
        string shape = dimensions.Length == 1 ? dimensions[0] + "," : string.Join(", ", dimensions);
        string text = $"{{'descr': '{type}', 'fortran_order': False, 'shape': ({shape}), }}";
        int length = (PrefixLength + text.Length + 1 + Alignment - 1) / Alignment * Alignment;
        byte[] header = new byte[length];
        Encoding.Latin1.GetBytes(text.PadRight(length - PrefixLength - 1) + "\n", header.AsSpan(PrefixLength));
        Magic.CopyTo(header);
        header[6] = 1;
        BinaryPrimitives.WriteUInt16LittleEndian(header.AsSpan(8), (ushort)(length - PrefixLength));
        return header;
    }

    /// <summary>Returns the bytes of one number; a complex element is two numbers.</summary>
    private static int Width(DType dtype) => dtype == DType.C64 ? 4 : dtype.BitSize / 8;

    private static (TensorInfo Tensor, int SwappedWidth) Parse(Reader reader)
    {
        (DType DType, int SwappedWidth)? dtype = null;
        bool? fortran = null;
        long[]? shape = null;
        reader.ExpectStart();
        while (!reader.TryRead('}'))
        {
            string key = reader.ReadText();
            reader.Expect(':');
            switch (key)
            {
                case "descr" when dtype is null:
                    dtype = reader.ReadType();
                    break;
                case "fortran_order" when fortran is null:
                    fortran = reader.ReadFlag();
                    break;
                case "shape" when shape is null:
                    shape = reader.ReadShape();
                    break;
                default:
                    throw Wrong(
                        reader.Tensor,
                        $"has a .npy header with {Sentence.Quote(key)}; descr, fortran_order and shape, once each, were expected");
            }

            if (!reader.TryRead(','))
            {
                reader.Expect('}');
                break;
            }
        }

        reader.ExpectEnd();
        if (dtype is not { } type || fortran is not { } transposed || shape is null)
            throw Wrong(reader.Tensor, "has a .npy header without descr, fortran_order or shape");
        if (transposed && shape.Length > 1)
            throw Wrong(reader.Tensor, "is in Fortran order; C order was expected, as numpy.ascontiguousarray makes it");
        try
        {
            var info = new TensorInfo(reader.Tensor, type.DType, new TensorShape(shape));
            _ = info.ByteLength;
            return (info, type.SwappedWidth);
        }
        catch (OverflowException)
        {
            throw Wrong(reader.Tensor, "has a shape of more elements than 64 bits can count");
        }
    }

    private static InvalidModelException Wrong(string tensor, string what) => new($"tensor {Sentence.Quote(tensor)} {what}.");

    /// <summary>Reads the Python dictionary that numpy writes.</summary>
    /// <param name="text">The header's text.</param>
    /// <param name="tensor">The tensor's name.</param>
    /// <param name="mayBeOld">Whether Python 2 may have written the header: its long integers end in L.</param>
    private sealed class Reader(string text, string tensor, bool mayBeOld)
    {
        private int _at;

        public string Tensor => tensor;

        public bool TryRead(char expected)
        {
            SkipWhiteSpace();
            if (_at >= text.Length || text[_at] != expected)
                return false;
            _at++;
            return true;
        }

        public void Expect(char expected)
        {
            if (!TryRead(expected))
                throw Malformed();
        }

        /// <summary>Reads the first brace, before which numpy writes nothing.</summary>
        public void ExpectStart()
        {
            if (!text.StartsWith('{'))
                throw Malformed();
            _at++;
        }

        /// <summary>Expects numpy's padding: spaces, then a line feed.</summary>
        public void ExpectEnd()
        {
            while (_at < text.Length && text[_at] == ' ')
                _at++;
            if (_at < text.Length && (text[_at] != '\n' || _at < text.Length - 1))
                throw Malformed();
        }

        public string ReadText()
        {
            char quote = TryRead('\'') ? '\'' : '"';
            if (quote == '"')
                Expect('"');
            int end = text.IndexOf(quote, _at);
            if (end < 0)
                throw Malformed();
            string value = text[_at..end];
            _at = end + 1;
            return value;
        }

        public (DType DType, int SwappedWidth) ReadType()
        {
            SkipWhiteSpace();
            if (_at < text.Length && text[_at] is '[' or '(')
                throw Wrong(tensor, "is an array of records; numbers were expected");
            string name = ReadText();
            return Types.TryGetValue(name, out (DType, int) type) ? type : throw Wrong(
                tensor, name is "|O" or "O" ? "is an array of objects; numbers were expected"
                    : $"has the numpy type {Sentence.Quote(name)}; " +
                        $"{string.Join(", ", Table.Select(entry => entry.Name))}, little-endian or big-endian, are known");
        }

        public bool ReadFlag()
        {
            SkipWhiteSpace();
            bool value = text.AsSpan(_at).StartsWith("True");
            if (!value && !text.AsSpan(_at).StartsWith("False"))
                throw Malformed();
            _at += value ? 4 : 5;
            return value;
        }

        public long[] ReadShape()
        {
            List<long> shape = [];
            bool endsInComma = false;
            Expect('(');
            while (!TryRead(')'))
            {
                SkipWhiteSpace();
                if (_at < text.Length && text[_at] == '-')
                    throw Wrong(tensor, "has a negative dimension");
                int start = _at;
                while (_at < text.Length && char.IsAsciiDigit(text[_at]))
                    _at++;
                if (_at == start)
                    throw Malformed();
                if (!long.TryParse(text.AsSpan(start, _at - start), NumberStyles.None, CultureInfo.InvariantCulture, out long dimension))
                    throw Wrong(tensor, "has a dimension that 64 bits cannot hold");
                // Python has no decimal numbers with leading zeros
                if (text[start] == '0' && _at > start + 1)
                    throw Malformed();
                if (mayBeOld && _at < text.Length && text[_at] == 'L')
                    _at++;
                shape.Add(dimension);
                if (shape.Count > MaxRank)
                    throw Wrong(tensor, $"has more than {MaxRank} dimensions");
                endsInComma = TryRead(',');
                if (!endsInComma)
                {
                    Expect(')');
                    break;
                }
            }

            // one number in parentheses is a number, not a tuple
            return shape.Count != 1 || endsInComma ? [.. shape] : throw Malformed();
        }

        private void SkipWhiteSpace()
        {
            while (_at < text.Length && text[_at] is ' ' or '\n' or '\t')
                _at++;
        }

        private InvalidModelException Malformed() => Wrong(tensor, $"has a .npy header that is malformed at byte {_at}");
    }
}
