using System.Buffers.Binary;

namespace FedICU.Fuzz.Generation;

/// <summary>Changes the structure or the bytes of a valid input.</summary>
internal static class Mutations
{
    /// <summary>Draws the number of changes of a case: few, and none in two of seven cases.</summary>
    public static int Count(Choices choices) => choices.Of([0, 0, 1, 1, 1, 2, 3]);

    /// <summary>Changes one node of a tree.</summary>
    public static void Mutate(Json root, Choices choices)
    {
        Json[] nodes = [.. root.All()];
        Json[] containers = [.. nodes.Where(node => node.Children.Count > 0)];
        if (containers.Length == 0 || choices.OneIn(40))
        {
            Replace(choices.Of(nodes), Literals.Any(choices));
            return;
        }

        Json parent = choices.Of(containers);
        int at = choices.Below(parent.Children.Count);
        (string key, Json child) = parent.Children[at];
        switch (choices.Below(10))
        {
            case 0:
                parent.Children.RemoveAt(at);
                break;
            case 1:
                parent.Children.Insert(choices.Below(parent.Children.Count + 1), (key, child.Clone()));
                break;
            case 2:
                parent.Children[at] = (key, Literals.Any(choices));
                break;
            case 3 when parent.Kind == '{':
                parent.Children[at] = (Json.Quote(Literals.Text(choices)), child);
                break;
            case 4 when parent.Kind == '{':
                // a name written with an escape is still the same name
                parent.Children[at] = (Escaped(key), child);
                break;
            case 5:
                int other = choices.Below(parent.Children.Count);
                (parent.Children[at], parent.Children[other]) =
                    ((key, parent.Children[other].Value), (parent.Children[other].Key, child));
                break;
            case 6:
                parent.Children.Add((parent.Kind == '{' ? Json.Quote(Literals.Text(choices)) : "", Literals.Any(choices)));
                break;
            case 7:
                Replace(child, choices.Of(nodes).Clone());
                break;
            default:
                MutateValue(nodes, choices);
                break;
        }
    }

    /// <summary>Changes bytes of a file.</summary>
    public static byte[] Mutate(byte[] file, Choices choices)
    {
        if (file.Length == 0)
            return choices.Bytes(choices.Between(1, 16));
        byte[] changed = [.. file];
        int at = choices.Below(file.Length), length = choices.Between(1, 16);
        switch (choices.Below(7))
        {
            case 0:
                return file[..at];
            case 1:
                return [.. file, .. choices.Bytes(length)];
            case 2:
                changed[at] ^= (byte)(1 << choices.Below(8));
                return changed;
            case 3:
                return [.. file[..at], .. file[Math.Min(at + length, file.Length)..]];
            case 4:
                return [.. file[..at], .. choices.Bytes(length), .. file[at..]];
            case 5:
                // exchanges two slices
                int other = choices.Below(file.Length), count = Math.Min(length, file.Length - Math.Max(at, other));
                file.AsSpan(at, count).CopyTo(changed.AsSpan(other));
                file.AsSpan(other, count).CopyTo(changed.AsSpan(at));
                return changed;
            default:
                changed.AsSpan(at, Math.Min(length, file.Length - at)).Fill((byte)(choices.OneIn(2) ? 0 : 0xff));
                return changed;
        }
    }

    /// <summary>Changes the eight bytes that give a header's length.</summary>
    public static byte[] MutateLength(byte[] file, Choices choices)
    {
        if (file.Length < 8)
            return file;
        byte[] changed = [.. file];
        ulong length = BinaryPrimitives.ReadUInt64LittleEndian(file);
        ulong[] lengths =
        [
            0, 1, length - 1, length + 1, (ulong)file.Length, (ulong)file.Length - 8, 100_000_000, 100_000_001, int.MaxValue, 1UL << 31,
            1UL << 32, long.MaxValue,
            1UL << 63, ulong.MaxValue,
        ];
        BinaryPrimitives.WriteUInt64LittleEndian(changed, choices.Of(lengths));
        return changed;
    }

    private static void MutateValue(Json[] nodes, Choices choices)
    {
        Json[] values = [.. nodes.Where(node => node.Kind == 'v')];
        if (values.Length == 0)
            return;
        Json value = choices.Of(values);
        value.Literal = value.Literal.StartsWith('"') ? Json.Quote(Literals.Text(choices)) : Literals.Number(choices);
    }

    private static void Replace(Json node, Json other)
    {
        (node.Kind, node.Literal) = (other.Kind, other.Literal);
        node.Children.Clear();
        node.Children.AddRange(other.Children);
    }

    private static string Escaped(string key) => key.Length < 3 || key[1] == '\\' ? key : $"\"\\u{(int)key[1]:x4}{key[2..]}";
}
