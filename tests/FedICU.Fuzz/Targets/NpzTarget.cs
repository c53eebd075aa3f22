using System.Globalization;
using System.Text;
using FedICU.Fedn.Npz;
using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>Tests a numpy archive, as a client of the FEDn bridge sends it.</summary>
internal sealed class NpzTarget : FuzzTarget
{
    private static readonly (string Numpy, string DType, int Size)[] Types =
    [
        ("<f8", "F64", 8), ("<f4", "F32", 4), ("<f2", "F16", 2), ("|b1", "BOOL", 1), ("<i8", "I64", 8), ("<i4", "I32", 4),
        ("<i2", "I16", 2), ("|i1", "I8", 1), ("<u8", "U64", 8), ("|u1", "U8", 1),
    ];

    // small, so that the cases reach the limits
    private static readonly NpzLimits Limits = new(MaxTensors: 16, MaxBytes: 1 << 20, MaxExpansion: 100);

    public override string Name => "npz";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        var archive = new ZipDraft();
        int changes = Mutations.Count(choices);
        var names = new HashSet<string>(StringComparer.Ordinal);
        for (int n = choices.Between(1, 4); n > 0; n--)
        {
            string name = choices.OneIn(10) ? Literals.Text(choices) : $"{choices.Below(20)}";
            // a zero byte or a second ending would give the array another name in numpy
            bool isPlain = name.Length > 0 && !name.Contains('\0') && !name.EndsWith(".npy", StringComparison.Ordinal);
            if (isPlain && name != "__metadata__" && ModelDraft.IsUnicode(name) && names.Add(name))
                archive.Entries.Add(Entry(name, choices, changes > 0 && choices.OneIn(3)));
        }

        bool isValid = changes == 0 && archive.Entries.Count > 0;
        bool inBytes = choices.OneIn(3);
        for (int i = inBytes ? changes : 0; i < changes; i++)
            Change(archive, choices);
        byte[] file = archive.ToBytes();
        for (int i = inBytes ? 0 : changes; i < changes; i++)
            file = Mutations.Mutate(file, choices);
        return [new("model.npz", file), new("valid", isValid ? "yes" : "maybe")];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        string archive = place.Put("model.npz", input["model.npz"]), output = place["model.safetensors"];
        Exception? refusal = library.Try("NpzReader.Copy", () => NpzReader.Copy(archive, TensorSink.ToFile(output), Limits));
        if (refusal is not null)
        {
            FuzzFailure.Unless(input.Text("valid") != "yes", $"a valid archive was refused: {refusal.Message}", "refuses a valid archive");
            FuzzFailure.Unless(
                refusal is InvalidModelException, $"refused with {refusal.GetType().Name}: {refusal.Message}", "another exception");
            place.CheckFiles(new(StringComparer.Ordinal) { ["model.npz"] = input["model.npz"] }, "a refusal");
            return Outcome.Refused;
        }

        Oracle.Verdict verdict = Oracle.SafetensorsOracle.Judge(File.ReadAllBytes(output));
        FuzzFailure.Unless(verdict.Accepts, $"the written file breaks the rule '{verdict.Refusal ?? verdict.Stricter}'",
            "an invalid file was written");
        long bytes = new FileInfo(output).Length;
        FuzzFailure.Unless(bytes < 2 * Limits.MaxBytes, $"{bytes} bytes were written from an archive that may unpack to {Limits.MaxBytes}");
        return Outcome.Accepted;
    }

    private static ZipEntryDraft Entry(string name, Choices choices, bool strange)
    {
        (string type, _, int size) = choices.Of(Types);
        long[] shape = [.. Enumerable.Range(0, choices.Below(3)).Select(_ => (long)choices.Below(5))];
        long count = shape.Aggregate(1L, (product, dimension) => product * dimension);
        string dimensions = string.Join(", ", shape.Select(dimension =>
            dimension.ToString(CultureInfo.InvariantCulture))) + (shape.Length == 1 ? "," : "");
        if (strange && choices.OneIn(2))
            dimensions = string.Join(',', Enumerable.Repeat(0, choices.Of([1, 2, 3, 65, 400])).Select(_ => choices.Of(Literals.Numbers)));
        if (strange && choices.OneIn(2))
            type = choices.Of(["|O", ">f4", "<f16", "", "<f4'; __import__", "<M8[ns]", "O", "|S5", "<c8", "[('a', '<f4')]"]);
        string header = strange && choices.OneIn(4)
            ? choices.Of(["{", "{}", "{'descr': [('a','<f4')], 'fortran_order': False, 'shape': ()}", "{'descr': '<f4', 'descr': '<f4'}",
                "", new string('{', 9000), new string(' ', 11000), "{'a': 1}"])
            : $"{{'descr': '{type}', 'fortran_order': {(strange && choices.OneIn(2) ? "True" : "False")}, 'shape': ({dimensions}), }}";
        return new ZipEntryDraft
        {
            Name = Encoding.UTF8.GetBytes(name + (strange && choices.OneIn(6) ? "" : ".npy")),
            Content = ZipDraft.Npy(header, choices.Bytes((int)(count * size)), strange &&
                choices.OneIn(6) ? (byte)choices.Below(5) : (byte)choices.Of([1, 1, 2, 3])),
            Deflated = choices.OneIn(2),
        };
    }

    private static void Change(ZipDraft archive, Choices choices)
    {
        ulong value = choices.Of<ulong>([0, 1, 8, 12, 99, 0x7fff, 0x8000, 0xffff, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff,
            choices.Next()]);
        if (archive.Entries.Count == 0 || choices.OneIn(4))
        {
            archive.WrongEnd[choices.Of([4, 6, 8, 10, 12, 16, 20])] = value;
            return;
        }

        ZipEntryDraft entry = choices.Of(archive.Entries);
        switch (choices.Below(6))
        {
            case 0:
                entry.Extra = [1, 0, 24, 0, .. BitConverter.GetBytes(choices.Next() >> choices.Below(64)),
                    .. BitConverter.GetBytes(choices.Next() >> choices.Below(64)), .. BitConverter.GetBytes(0UL)];
                entry.Wrong[choices.Of([20, 24, 42])] = 0xffffffff;
                break;
            case 1:
                entry.Name = choices.Bytes(choices.Below(20));
                break;
            case 2:
                archive.Entries.Add(entry);
                break;
            case 3:
                // a zip bomb: a small entry that unpacks to much data
                entry.Content = [.. entry.Content, .. new byte[choices.Of([1, 1 << 16, 1 << 21])]];
                entry.Deflated = true;
                break;
            default:
                entry.Wrong[choices.Of([8, 10, 16, 20, 24, 28, 30, 32, 42])] = value;
                break;
        }
    }
}
