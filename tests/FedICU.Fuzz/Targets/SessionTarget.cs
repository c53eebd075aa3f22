using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using FedICU.Fuzz.Generation;

namespace FedICU.Fuzz.Targets;

/// <summary>
/// Tests a session's folder after a restart: changed lines of the journal with valid seals, damaged lines, and damaged
/// files.
/// </summary>
internal sealed partial class SessionTarget : FuzzTarget
{
    private const string Journal = "in/session.journal";

    private static readonly string[] FileNames =
        ["../update-1", "update-1/../../x", "/update-1", "update-", "session.journal", "update-\0", "update-..", "UPDATE-1"];

    /// <summary>The files of a session to which the library added three updates, created once.</summary>
    private static readonly Lazy<SortedDictionary<string, byte[]>> Valid = new(CreateSession);

    public override string Name => "session";

    public override IReadOnlyList<FuzzPart> Generate(Choices choices)
    {
        SortedDictionary<string, byte[]> files = new(Valid.Value, StringComparer.Ordinal);
        List<string> lines = [.. Encoding.UTF8.GetString(files["session.journal"]).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line[(line.IndexOf(' ') + 1)..])];
        int changes = Mutations.Count(choices);
        for (int i = 0; i < changes; i++)
            Change(lines, files, choices);
        byte[] journal = Seal(lines);
        files["session.journal"] = choices.OneIn(6) ? Mutations.Mutate(journal, choices) : journal;
        return [.. files.Select(file => new FuzzPart("in/" + file.Key, file.Value))
            .Append(new FuzzPart("policy", choices.OneIn(2) ? "drop" : "reject"))];
    }

    public override Outcome Check(FuzzInput input, FuzzPlace place, Caller library)
    {
        place.PutAll(input, "in/");
        SortedDictionary<string, byte[]> before = place.Files();
        RoundOptions options = input.Text("policy") == "drop" ? Rounds.DropEverything : new RoundOptions { Threads = 1 };
        AggregationSession? session = library.Get("AggregationSession.Open", () =>
            AggregationSession.Open(place["in"], Rounds.Global, options), out _);
        if (session is null)
        {
            place.CheckFiles(before, "a session that did not open");
            return Outcome.Refused;
        }

        using (session)
        using (var sink = new MemorySink())
        {
            string[] ids = [.. session.Updates.Select(update => update.Id)];
            Exception? refusal = null;
            library.Try("ToRound", () => session.ToRound());
            refusal = Rounds.Run(library, session.Options, sink, session.Updates, out RoundReport? report);
            FuzzFailure.Unless(refusal is not null || report!.Clients.Select(client => client.Id).SequenceEqual(ids),
                "other clients than the session's");
            // a session that opened can continue: it accepts another client and retracts one
            UpdateReceipt? added = library.Get("AddAsync", () =>
                session.AddAsync(ClientUpdate.FromTensors("new", Rounds.Good("a"))).GetAwaiter().GetResult(), out refusal);
            FuzzFailure.Unless(added is not null || ids.Contains("new") || refusal is RoundRejectedException,
                $"a session that opened accepts no update: {refusal?.Message}", "accepts no update");
            if (ids.Length > 0)
                library.Try("Retract", () => session.Retract(ids[0]));
        }

        // the session must not remove its own journal
        FuzzFailure.Unless(File.Exists(place["in/session.journal"]), "the journal is gone");
        return Outcome.Accepted;
    }

    private static void Change(List<string> lines, SortedDictionary<string, byte[]> files, Choices choices)
    {
        int at = choices.Below(Math.Max(lines.Count, 1));
        switch (choices.Below(8))
        {
            case 0 when lines.Count > 0:
                lines.RemoveAt(at);
                break;
            case 1 when lines.Count > 0:
                lines.Insert(choices.Below(lines.Count + 1), lines[at]);
                break;
            case 2 when lines.Count > 0:
                int other = choices.Below(lines.Count);
                (lines[at], lines[other]) = (lines[other], lines[at]);
                break;
            case 3:
                lines.Add(Json.Object(("retract", Json.Text(choices.OneIn(2) ? "a" : Literals.Text(choices)))).ToString());
                break;
            case 4:
                string name = choices.Of([.. files.Keys]);
                files[name] = Mutations.Mutate(files[name], choices);
                break;
            case 5:
                if (files.Count > 2)
                    files.Remove(choices.Of([.. files.Keys.Where(file => file != "session.journal")]));
                break;
            default:
                if (lines.Count == 0)
                    break;
                // changes values within a line, which then gets a valid seal
                Json line = Json.Parse(lines[at]);
                if (choices.OneIn(3) && line["file"] is { } file)
                    file.Literal = Json.Quote(choices.Of(FileNames));
                else
                    Mutations.Mutate(line, choices);
                lines[at] = line.ToString().Replace('\n', ' ');
                break;
        }
    }

    /// <summary>Adds the seals to the lines. A seal is the SHA-256 of the previous seal and the line.</summary>
    private static byte[] Seal(IEnumerable<string> lines)
    {
        byte[] seal = [];
        var journal = new List<byte>();
        foreach (string line in lines)
        {
            byte[] json = Encoding.UTF8.GetBytes(line);
            seal = SHA256.HashData([.. seal, .. json]);
            journal.AddRange([.. Encoding.ASCII.GetBytes(Convert.ToHexStringLower(seal)), (byte)' ', .. json, (byte)'\n']);
        }

        return [.. journal];
    }

    [GeneratedRegex("update-[0-9a-f]{16}\\.safetensors")]
    private static partial Regex RandomName();

    private static SortedDictionary<string, byte[]> CreateSession()
    {
        using var place = new FuzzPlace("session-template");
        using (AggregationSession session = AggregationSession.Create(place["in"], Rounds.Global,
            new RoundOptions { Round = 7, Threads = 1 }))
        {
            foreach (string id in (string[])["a", "b", "c"])
                session.AddAsync(ClientUpdate.FromTensors(id, Rounds.Good(id))).GetAwaiter().GetResult();
            session.Retract("b");
        }

        // replaces the library's random file names, because a case must be the same everywhere
        SortedDictionary<string, byte[]> found = place.Files(), files = new(StringComparer.Ordinal);
        string journal = Encoding.UTF8.GetString(found[Journal]);
        foreach ((string path, byte[] bytes) in found.Where(file => file.Key != Journal).OrderBy(file =>
            journal.IndexOf(Path.GetFileName(file.Key), StringComparison.Ordinal)))
        {
            string name = $"update-{files.Count:d16}.safetensors";
            files.Add(name, bytes);
            journal = journal.Replace(Path.GetFileName(path), name, StringComparison.Ordinal);
        }

        // the file of the retracted client does not exist any more
        const string Gone = "update-ffffffffffffffff.safetensors";
        journal = RandomName().Replace(journal, match => files.ContainsKey(match.Value) ? match.Value : Gone);
        files.Add("session.journal", Encoding.UTF8.GetBytes(journal));
        return files;
    }
}
