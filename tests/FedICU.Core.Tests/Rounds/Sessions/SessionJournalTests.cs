using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using CsCheck;
using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>Journals and files that were cut, changed or written by another version.</summary>
internal sealed class SessionJournalTests : SessionFixture
{
    /// <summary>
    /// A journal that is cut at any byte keeps its whole lines; files of the other lines are removed.
    /// </summary>
    [Test]
    public async Task AJournalCutAnywhereOpensWithItsWholeLines()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            session.Retract("a");
            await session.AddAsync(Client("b"));
        }

        byte[] whole = File.ReadAllBytes(Journal);
        byte[] b = File.ReadAllBytes(FindUpdate("b"));
        string name = Path.GetFileName(FindUpdate("b"));
        int first = Array.IndexOf(whole, (byte)'\n') + 1;
        for (int length = 0; length < whole.Length; length += length < first || length > whole.Length - 70 ? 1 : 37)
        {
            File.WriteAllBytes(Journal, whole[..length]);
            File.WriteAllBytes(Path.Combine(Place, name), b);
            if (length < first)
            {
                Refused<FedIcuException>(() => AggregationSession.Open(Place, Global), $"The folder '{Place}' holds no session.");
            }
            else if (whole[..length].Count(value => value == '\n') == 2)
            {
                // the journal contains client a, but its file was removed
                Assert.That(() => AggregationSession.Open(Place, Global),
                    Throws.TypeOf<RoundRejectedException>().With.Message.Contains("'a'").And.Message.Contains("does not exist"));
                continue;
            }

            using (AggregationSession session = AggregationSession.OpenOrCreate(Place, Global))
            {
                Assert.That(session.Updates, Is.Empty);
                Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(1));
                await session.AddAsync(Client("c"));
            }

            using AggregationSession again = AggregationSession.Open(Place, Global);
            Assert.That(again.Updates.Single().Id, Is.EqualTo("c"));
            again.Retract("c");
        }
    }

    [Test]
    public async Task AChangedJournalIsRefused()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            await session.AddAsync(Client("b"));
        }

        byte[] whole = File.ReadAllBytes(Journal);
        int second = Array.IndexOf(whole, (byte)'\n') + 1, third = second + Array.IndexOf(whole[second..], (byte)'\n') + 1;
        Gen.Select(Gen.Int[0, whole.Length - 1], Gen.Byte[1, 255]).Sample((at, flip) =>
        {
            byte[] changed = [.. whole];
            changed[at] ^= flip;
            File.WriteAllBytes(Journal, changed);
            Assert.That(() => AggregationSession.Open(Place, Global),
                Throws.TypeOf<InvalidModelException>().With.Message.Match(
                $"^'{Journal}' is damaged: line [123] does not agree with its checksum.$"));
        }, threads: 1);
        File.WriteAllBytes(Journal, [.. whole[..second], .. whole[third..]]);
        Refused<InvalidModelException>(() => AggregationSession.Open(Place, Global),
            $"'{Journal}' is damaged: line 2 does not agree with its checksum.");
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(3), "nothing is removed");
    }

    /// <summary>
    /// A line with a correct checksum that contradicts the others is refused with its number, before any file is read
    /// or removed.
    /// </summary>
    [TestCase("""{"add":"a","kind":"Full","file":"../update-1.safetensors","length":1,"digest":"x"}""",
        "line 2 has the file '../update-1.safetensors'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-/../../x","length":1,"digest":"x"}""",
        "line 2 has the file 'update-/../../x'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"session.journal","length":1,"digest":"x"}""",
        "line 2 has the file 'session.journal'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789ABCDEF","length":1,"digest":"x"}""",
        "line 2 has the file 'update-0123456789ABCDEF'; a name that a session gives was expected.")]
    [TestCase("""{"add":"a","kind":"Full","length":1,"digest":"x"}""",
        "line 2 has the file null; a name that a session gives was expected.")]
    [TestCase("""{"add":"a"}""", "line 2 has the kind null; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"diff","file":"update-0123456789abcdef","length":1,"digest":"x"}""",
        "line 2 has the kind 'diff'; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"Full, Delta","file":"update-0123456789abcdef","length":1,"digest":"x"}""",
        "line 2 has the kind 'Full, Delta'; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"7","file":"update-0123456789abcdef","length":1,"digest":"x"}""",
        "line 2 has the kind '7'; Full, Delta or Sparse was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","length":-1,"digest":"x"}""",
        "line 2 has the length -1; 0 or more was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","digest":"x"}""",
        "line 2 has the length null; 0 or more was expected.")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","length":1}""", "line 2 has no checksum of the update's bytes.")]
    [TestCase("""{"add":"","kind":"Full","file":"update-0123456789abcdef","length":1,"digest":"x"}""",
        "line 2 adds a client without an id.")]
    [TestCase("""{"retract":"a"}""", "line 2 retracts a client that the session does not have.")]
    [TestCase("""{}""", "line 2 does not say one of: a client was added, a client was retracted, the round was sealed.")]
    [TestCase("""{"add":"a","retract":"a"}""",
        "line 2 does not say one of: a client was added, a client was retracted, the round was sealed.")]
    [TestCase("""{"session":2,"base":"x"}""",
        "line 2 does not say one of: a client was added, a client was retracted, the round was sealed.")]
    public void AJournalThatContradictsItselfIsRefused(string json, string why) =>
        Refused<InvalidModelException>(() => OpenWithLine(json), $"The session in '{Place}' has a journal that contradicts itself: {why}");

    [TestCase("""{"added":"a"}""")]
    [TestCase("""{"add":"a","kind":7,"file":"update-0123456789abcdef","length":1,"digest":"x"}""")]
    [TestCase("""{"add":"a","add":"b","kind":"Full","file":"update-0123456789abcdef","length":1,"digest":"x"}""")]
    [TestCase("""{"add":"\ud800","kind":"Full","file":"update-0123456789abcdef","length":1,"digest":"x"}""")]
    [TestCase("""{"add":"a","kind":"Full","file":"update-0123456789abcdef","length":1e99,"digest":"x"}""")]
    [TestCase("""{"closed":"yesterday"}""")]
    [TestCase("null")]
    [TestCase("[]")]
    [TestCase("")]
    public void ALineThatThisVersionDoesNotWriteIsRefused(string json) =>
        Refused<InvalidModelException>(() => OpenWithLine(json),
            $"'{Journal}': line 2 is not in a form that this version of the library writes.");

    [Test]
    public async Task AFileOfTwoClientsIsRefused()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
            await session.AddAsync(Client("a"));
        string line = File.ReadAllLines(Journal)[1];
        Refused<InvalidModelException>(
            () => OpenWithLine(line[65..].Replace("\"add\":\"a\"", "\"add\":\"b\"", StringComparison.Ordinal)),
            $"The session in '{Place}' has a journal that contradicts itself: " +
            "line 3 adds a client or a file that the session already has.");
    }

    [TestCase("""{"session":4,"base":"x"}""", "has the version 4; 1 to 3 was expected.")]
    [TestCase("""{"session":-1,"base":"x"}""", "has the version -1; 1 to 3 was expected.")]
    [TestCase("""{"base":"x"}""",
        "has a journal that contradicts itself: line 1 does not state the session's version and its global model.")]
    [TestCase("""{"session":1}""",
        "has a journal that contradicts itself: line 1 does not state the session's version and its global model.")]
    public void ASessionOfAnotherVersionIsRefused(string first, string why)
    {
        Directory.CreateDirectory(Place);
        File.WriteAllText(Journal, Line([], first));
        Assert.That(() => AggregationSession.Open(Place, Global),
            Throws.InstanceOf<FedIcuException>().With.Message.EqualTo($"The session in '{Place}' {why}"));
    }

    /// <summary>
    /// A session of version 1 has no creation time, one of version 2 no statements; clients are with and without a
    /// weight.
    /// </summary>
    [Test]
    public async Task ASessionOfAnOlderVersionOpens([Values(1, 2)] int version)
    {
        Directory.CreateDirectory(Place);
        string text = Line([], $$"""{"session":{{version}},"base":"{{Digest}}","round":7}""");
        foreach ((string id, int seed, string weight) in (IEnumerable<(string, int, string)>)[("b", 2, ""), ("a", 3, "\"weight\":5,")])
        {
            string name = $"update-{seed:x16}.safetensors";
            Models.Random(seed).SaveTo(TensorSink.ToFile(Path.Combine(Place, name)));
            byte[] bytes = File.ReadAllBytes(Path.Combine(Place, name));
            byte[] seal = Convert.FromHexString(text.Split('\n')[^2][..64]);
            string digest = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));
            text += Line(seal,
                $$"""{"add":"{{id}}",{{weight}}"kind":"Full","file":"{{name}}","length":{{bytes.Length}},"digest":"{{digest}}"}""");
        }

        File.WriteAllText(Journal, text);
        using AggregationSession session = AggregationSession.Open(Place, Global);
        Assert.That(session.Arrivals.Select(arrival => (arrival.Number, arrival.Update.Id, arrival.Update.Weight)),
            Is.EqualTo(new (long, string, double?)[] { (1, "b", null), (2, "a", 5) }));
        Assert.That(session.Updates.Select(update => update.Statements), Is.All.EqualTo(new ClientStatements()));
        Assert.That((session.Begun, session.Options.Round, session.IsSealed), Is.EqualTo(((DateTimeOffset?)null, (long?)7, false)));
        session.Retract("b");
        await session.AddAsync(Client("b"));
        Assert.That(Bits(new FedAvgAggregator(), session.ToRound()),
            Is.EqualTo(Batch(new FedAvgAggregator(), [ClientUpdate.FromTensors("a", Models.Random(3), 5), Client("b")])));
    }

    /// <summary>Earlier versions of the library kept updates that came after the round was sealed.</summary>
    [Test]
    public async Task ClientsThatAnEarlierVersionAddedTooLateAreLeftOut()
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("b"));
            session.Seal();
        }

        string[] lines = File.ReadAllLines(Journal);
        string late = Regex.Replace(lines[1][65..], "update-[0-9a-f]+", "update-0123456789abcdef")
            .Replace("\"b\"", "\"a\"", StringComparison.Ordinal);
        File.AppendAllText(Journal, Line(Convert.FromHexString(lines[^1][..64]), late));
        File.WriteAllText(Path.Combine(Place, "update-0123456789abcdef.safetensors"), "the late update");
        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(again.Updates.Select(update => update.Id), Is.EqualTo(new[] { "b" }));
        Assert.That(Directory.GetFileSystemEntries(Place), Has.Length.EqualTo(2));
    }

    [Test]
    public void AJournalThatIsAPipeIsRefused()
    {
        Directory.CreateDirectory(Place);
        if (Tools.TryRun("mkfifo", [Journal], out _) != 0)
            Tools.Missing("mkfifo");
        Assert.That(() => AggregationSession.OpenOrCreate(Place, Global),
            Throws.TypeOf<FedIcuException>().With.Message.EqualTo($"The session's journal '{Journal}' is not a regular file."));
    }

    [Test]
    public async Task ADamagedFileNamesItsClient([Values("cut", "changed", "gone")] string damage)
    {
        using (AggregationSession session = AggregationSession.Create(Place, Global))
        {
            await session.AddAsync(Client("a"));
            await session.AddAsync(Client("b", 3));
        }

        string path = FindUpdate("a");
        byte[] bytes = File.ReadAllBytes(path);
        string fault = $"'{path}' does not exist.";
        File.Delete(path);
        if (damage == "cut")
        {
            File.WriteAllBytes(path, bytes[..^1]);
            fault = $"'{path}' has {bytes.Length - 1} bytes; {bytes.Length} were expected.";
        }
        else if (damage == "changed")
        {
            string expected = "sha256:" + Convert.ToHexStringLower(SHA256.HashData(bytes));
            bytes[^1] ^= 1;
            File.WriteAllBytes(path, bytes);
            fault = $"'{path}' is damaged: its bytes have the checksum sha256:{Convert.ToHexStringLower(SHA256.HashData(bytes))}; " +
                $"{expected} was expected.";
        }

        RoundRejectedException refused =
            Refused<RoundRejectedException>(() => AggregationSession.Open(Place, Global), $"Client 'a': {fault}");
        Assert.That((refused.Fault, refused.ClientId), Is.EqualTo((RoundFault.Unreadable, "a")));

        // the other clients need not send their updates again
        using (AggregationSession session =
            AggregationSession.Open(Place, Global, new RoundOptions { OnUnreadable = FaultPolicy.DropClient, Quorum = 1 }))
        {
            AggregationResult result = await new FedAvgAggregator().AggregateAsync(session.ToRound(), TensorSink.Discard);
            Assert.That(result.Report.Clients.Single(client => !client.Included).Reason, Is.EqualTo($"Client 'a': {fault}"));
            session.Retract("a");
            await session.AddAsync(Client("a"));
        }

        using AggregationSession again = AggregationSession.Open(Place, Global);
        Assert.That(Bits(new FedAvgAggregator(), again.ToRound()),
            Is.EqualTo(Batch(new FedAvgAggregator(), [Client("a"), Client("b", 3)])));
    }

    private AggregationSession OpenWithLine(string json)
    {
        if (!File.Exists(Journal))
            AggregationSession.Create(Place, Global).Dispose();
        File.AppendAllText(Journal, Line(Convert.FromHexString(File.ReadAllLines(Journal)[^1][..64]), json));
        return AggregationSession.Open(Place, Global);
    }

    private static string Line(byte[] seal, string json) =>
        Convert.ToHexStringLower(SHA256.HashData([.. seal, .. Encoding.UTF8.GetBytes(json)])) + " " + json + "\n";
}
