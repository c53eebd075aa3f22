using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace FedICU.Cli.Tests;

/// <summary>Runs rounds over a folder of clients.</summary>
public sealed class ClientFolderTests
{
    private Place _place = null!;

    private string Folder => _place["clients"];

    private string Output => _place["out.safetensors"];

    [SetUp]
    public void SetUp()
    {
        _place = new Place();
        Directory.CreateDirectory(Folder);
    }

    [TearDown]
    public void TearDown() => _place.Dispose();

    [Test]
    public void EveryModelInTheFolderIsAClient()
    {
        Copy(_place.A, "a.safetensors");
        Copy(_place.B, "d/model.safetensors");
        WriteSharded("s.safetensors.index.json", "s-1.safetensors", "s-2.safetensors");
        WriteSharded("t/model.safetensors.index.json", "one.safetensors", "two.safetensors");
        Copy(_place.C, "../other/model.safetensors");
        Directory.CreateSymbolicLink(Path.Combine(Folder, "z"), _place["other"]);
        Ignored();

        string report = _place["r.json"];
        Run([], "--report", report).Succeeded();
        string[] names = ["a.safetensors", "d", "s.safetensors.index.json", "t", "z"];
        Assert.That(RoundReport.FromJson(File.ReadAllText(report)).Clients.Select(client => client.Id), Is.EqualTo(names));
        byte[] expected = File.ReadAllBytes(Output);
        Tool.Run(_place.RoundLine([.. names.Select(name => $"{name}={Path.Combine(Folder, name)}")], strategy: "fedavg")).Succeeded();
        Assert.That(File.ReadAllBytes(Output), Is.EqualTo(expected));

        void Ignored()
        {
            foreach (string name in (string[])["README.md", "notes.txt", "config.json", ".a.safetensors.fedicu-lock", "logs/run.log"])
                _place.Write("clients/" + name, "text");
            foreach (string name in (string[])[".b.safetensors", ".cache/b.safetensors"])
                Copy(_place.B, name);
        }
    }

    [Test]
    public void AdapterFoldersAreClients()
    {
        string global = _place.WriteAdapter("base", 1);
        _place.WriteAdapter("clients/x", 2);
        _place.WriteAdapter("clients/y", 3);
        Run run = Tool.Run(["explain", "--global", global, "--clients", Folder]).Succeeded();
        Assert.That(run.Lines, Has.Some.StartsWith("x ").And.Some.StartsWith("y "));
    }

    [Test]
    public void AThousandClientsGiveTheBytesOfAThousandOptions()
    {
        string global = WriteVector("global.safetensors", 0);
        // 7 and 1000 have no common divisor: every number once, in another order than the names'
        string[] names = [.. Enumerable.Range(0, 1000).Select(i => $"{i * 7 % 1000}.safetensors")];
        foreach (string name in names)
            WriteVector("clients/" + name, float.Parse(name.Split('.')[0], CultureInfo.InvariantCulture) / 3);
        Tool.Run("aggregate", "--strategy", "fedavg", "--global", global, "--clients", Folder, "--output", Output).Succeeded();
        byte[] expected = File.ReadAllBytes(Output);
        Assert.That(Place.Read<float>(Output, "w"), Is.All.EqualTo(999f / 6).Within(1e-4f));
        string[] typed = [.. names.Select(name => $"{name}={Path.Combine(Folder, name)}")];
        Tool.Run(_place.RoundLine(typed, global: global, strategy: "fedavg")).Succeeded();
        Assert.That(File.ReadAllBytes(Output), Is.EqualTo(expected));
    }

    [Test]
    public void WeightsAreThoseOfTheTypedClients()
    {
        _place.Write("clients/b.safetensors", Place.Model([8, 8, 8, 8, 8, 8], [8, 8], 8, ("num_examples", "1")));
        string a = _place.Write("a4.safetensors", Place.Model([4, 4, 4, 4, 4, 4], [4, 4], 4));
        Run(["a=" + a], "--weights", "3").Succeeded();
        Assert.That(Place.Read<float>(Output, Place.Bias), Is.EqualTo(new[] { 5f, 5f }));
        Refused([], ["--weights", "1"], "'1'", "1 number for 0 clients of --client");
        Refused(["a=" + a], ["--weights", "1,2"], "2 numbers for 1 client of --client");
    }

    [Test]
    public void AFileOfAnotherFormatIsNotLeftOutSilently([Values("k.pt", "k/pytorch_model.bin")] string name)
    {
        Copy(_place.A, "a.safetensors");
        Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(Folder, name))!);
        File.WriteAllBytes(Path.Combine(Folder, name), [.. "PK"u8, 3, 4, .. new byte[20]]);
        Refused([], [], "'" + name.Split('/')[0] + "'");
        Run run = Run([], "--set", "on-unreadable=drop-client", "--set", "quorum=1").Succeeded();
        Assert.That(run.Output, Does.Contain("1 of 2 clients"));
    }

    [Test]
    public void AFolderWithoutClientsIsRefused()
    {
        Refused([], [], Folder, "holds no client");
        _place.Write("clients/notes.txt", "text");
        Directory.CreateDirectory(Path.Combine(Folder, "empty"));
        Refused([_place.A], [], Folder, "holds no client");
    }

    [Test]
    public void AnotherPlaceIsRefused()
    {
        Assert.That(Refusal(_place["missing"]), Does.Contain("does not exist"));
        Assert.That(Refusal(_place.A), Does.Contain(_place.A).And.Contain("a folder or a .json file was expected"));
        Assert.That(Refusal(""), Does.Contain("--clients is ''"));
        Assert.That(Refusal(_place.WriteAdapter("one", 1)), Does.Contain("is one adapter"));

        string Refusal(string place)
        {
            Run run = Tool.Run(["aggregate", "--strategy", "fedavg", "--global", _place.Global, "--clients", place, "--output", Output]);
            return run.Failed(1).Error;
        }
    }

    [Test]
    public void AnIndexThatCannotBeReadIsRefused()
    {
        Copy(_place.A, "s-1.safetensors");
        _place.Write("clients/s.safetensors.index.json", "{");
        Refused([], ["--set", "on-unreadable=drop-client", "--set", "quorum=1"], "s.safetensors.index.json", "JSON");
    }

    [Test]
    public void AClientGivenTwiceIsRefused()
    {
        Copy(_place.A, "a.safetensors");
        Refused(["a.safetensors=" + _place.B], [], "'a.safetensors'", "twice");
        Refused(["k=" + Path.Combine(Folder, "a.safetensors")], [], "'k'", "'a.safetensors'", "same path");
        File.CreateSymbolicLink(Path.Combine(Folder, "b.safetensors"), Path.Combine(Folder, "a.safetensors"));
        Refused([], [], "'a.safetensors'", "'b.safetensors'", "same path");
    }

    [Test]
    public void TheGlobalModelInTheFolderIsRefused()
    {
        Copy(_place.A, "a.safetensors");
        string global = Copy(_place.Global, "global.safetensors");
        _place.AssertRefused(
            ["aggregate", "--strategy", "fedavg", "--global", global, "--clients", Folder, "--output", Output],
            "'global.safetensors'", "is the global model");
    }

    [Test]
    public void AnOutputThatWouldBecomeAClientIsRefused()
    {
        string client = Copy(_place.A, "a.safetensors");
        Assert.That(Refusal("--output", client), Does.Contain("the update of client 'a.safetensors' itself"));
        Assert.That(Refusal("--output", Path.Combine(Folder, "next.safetensors")), Does.Contain("a client of the next round"));
        Assert.That(Refusal("--output", Folder), Does.Contain("a client of the next round"));
        Assert.That(
            Refusal("--output", Output, "--report", client), Does.Contain("--report").And.Contain("the update of client 'a.safetensors'"));

        string Refusal(params string[] rest)
        {
            string[] line = ["aggregate", "--strategy", "fedavg", "--global", _place.Global, "--clients", Folder, .. rest];
            _place.AssertRefused(line);
            return Tool.Run(line).Error;
        }
    }

    private Run Run(string[] typed, params string[] rest) =>
        Tool.Run([.. _place.RoundLine(typed, strategy: "fedavg"), "--clients", Folder, .. rest]);

    private void Refused(string[] typed, string[] rest, params string[] parts) =>
        _place.AssertRefused([.. _place.RoundLine(typed), "--clients", Folder, .. rest], parts);

    private string Copy(string from, string name)
    {
        string path = Path.Combine(Folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.Copy(from, path);
        return path;
    }

    /// <summary>Writes the model of client c in two shards.</summary>
    private void WriteSharded(string index, string first, string second)
    {
        string folder = Path.Combine("clients", Path.GetDirectoryName(index)!);
        _place.Write(
            Path.Combine(folder, first), new MemoryModel { { Place.Weight, [3, 2], new float[] { -1, 0, 0, 3, 0, 1 } } });
        _place.Write(
            Path.Combine(folder, second),
            new MemoryModel { { Place.Bias, [2], new float[] { 1, 1 } }, { Place.Steps, [], new long[] { 17 } } });
        _place.Write(
            "clients/" + index,
            $$"""
            {
                "weight_map": {"{{Place.Weight}}": "{{first}}", "{{Place.Bias}}": "{{second}}", "{{Place.Steps}}": "{{second}}"}
            }
            """);
    }

    /// <summary>Writes a file with one vector of equal values, without the flush of a published model.</summary>
    private string WriteVector(string name, float value)
    {
        byte[] header = Encoding.UTF8.GetBytes("""{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}""");
        float[] values = [value, value, value];
        return _place.Write(
            name, [.. BitConverter.GetBytes((long)header.Length), .. header, .. MemoryMarshal.AsBytes<float>(values)]);
    }
}
