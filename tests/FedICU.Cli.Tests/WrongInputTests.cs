using System.Runtime.Versioning;
using System.Text;

namespace FedICU.Cli.Tests;

/// <summary>Wrong files and numbers of every kind, beside those of <see cref="RefusalTests"/>: one sentence, the right code, and the folder as it was before.</summary>
public sealed class WrongInputTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [TestCase("aggregate", "--strategy", "fedavg", "--global", "g", "--output", "o.safetensors", "--client")]
    [TestCase("explain", "--global", "g", "--client")]
    [TestCase("mask", "--global", "g", "--local", "l", "--output", "o.safetensors", "--backend", "tpu")]
    [TestCase("mask", "--global", "g", "--local", "l", "--output", "o.safetensors", "--frobnicate", "x")]
    [TestCase("mask", "--global", "g", "--local", "l", "--output", "o.safetensors", "--mask")]
    [TestCase("explain", "--global", "g", "--client", "a", "--output", "o.safetensors")]
    [TestCase("explain", "--global", "g", "--client", "a", "--backend", "SIMD")]
    [TestCase("aggregate", "--strategy", "", "--global", "g", "--client", "a", "--output", "o.safetensors")]
    [TestCase("diff", "a", "b", "--set", "tau=1")]
    [TestCase("verify", "--client", "a")]
    public void LinesThatCannotBeUnderstood(params string[] args) => Tool.Run(args).Failed(2);

    [TestCase("inf,1", "'inf'")]
    [TestCase("1,nan", "'nan'", "b.safetensors")]
    [TestCase("-Infinity,1", "'-Infinity'")]
    [TestCase("-1e-9,1", "'-1e-9'")]
    [TestCase("0x10,1", "'0x10'")]
    [TestCase("", "''")]
    [TestCase("1.5.2,1", "'1.5.2'")]
    [TestCase("1e308,1e308", "above max-weight")]
    public void Weights(string weights, params string[] parts) => Refused([.. Round(_place.A, _place.B), "--weights", weights], parts);

    [TestCase("Tau=1", "'Tau'")]
    [TestCase("eps=-1", "eps is -1")]
    [TestCase("eps=inf", "eps is")]
    [TestCase("similarity=cosine", "'cosine'", "pairwise or pairwise-self or mean or previous")]
    [TestCase("granularity=layer", "'layer'", "tensor or model")]
    [TestCase("weights=sigmoid", "'sigmoid'", "softmax or relu or raw")]
    [TestCase("consensus=mean", "'mean'", "uniform or share")]
    [TestCase("target=both", "'both'", "parameters or delta")]
    [TestCase("integers=drop", "'drop'", "mean or keep")]
    [TestCase("quorum=1.5", "'1.5'")]
    [TestCase("quorum=many", "'many'")]
    [TestCase("on-nonfinite=ignore", "'ignore'")]
    [TestCase("on-unreadable=drop-tensor", "on-unreadable")]
    [TestCase("tau=0,1", "'0,1'")]
    [TestCase("tau=", "'tau'")]
    [TestCase("beta=0.5", "'beta'", "unknown")]
    public void Settings(string setting, params string[] parts) => Refused([.. Round(_place.A, _place.B), "--set", setting], parts);

    [TestCase("-1")]
    [TestCase("Infinity")]
    [TestCase("1e999")]
    [TestCase("")]
    [TestCase("12 examples")]
    public void ExamplesOfAFile(string examples) =>
        Refused(Round("k=" + _place.Write("bad.safetensors", Place.Like(("num_examples", examples)))), "'k'", examples == "1e999" ? "Infinity" : examples);

    [Test]
    public void NoExamplesAtAll() => Refused(Round("k=" + _place.Write("none.safetensors", Place.Like(("num_examples", "0")))), "No client remains", "'k'");

    private static IEnumerable<TestCaseData> Malformed()
    {
        const string Good = "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}";
        yield return Case("no JSON", "{\"a\":", 4);
        yield return Case("an array", "[]", 4);
        yield return Case("the same name twice", "{" + Good + "," + Good + "}", 4);
        yield return Case("bytes left over", "{" + Good + "}", 5);
        yield return Case("bytes missing", "{" + Good + "}", 3);
        yield return Case("a hole", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}", 8);
        yield return Case("an overlap", "{" + Good + ",\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[2,6]}}", 6);
        yield return Case("offsets backwards", "{\"a\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,0]}}", 4);
        yield return Case("another size", "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4);
        yield return Case("an unknown type", "{\"a\":{\"dtype\":\"F33\",\"shape\":[4],\"data_offsets\":[0,4]}}", 4);
        yield return Case("a negative dimension", "{\"a\":{\"dtype\":\"U8\",\"shape\":[-4],\"data_offsets\":[0,4]}}", 4);
        yield return Case("an immense dimension", "{\"a\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,4],\"data_offsets\":[0,4]}}", 4);
        yield return Case("a missing field", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4]}}", 4);
        yield return Case("an unknown field", "{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4],\"x\":1}}", 4);
        yield return Case("metadata that are no text", "{\"__metadata__\":{\"k\":1}," + Good + "}", 4);
        yield return Case("no UTF-8", "{\"a\u0001\u00ff\":1}", 4);

        static TestCaseData Case(string name, string header, int data) => new TestCaseData(header, data).SetArgDisplayNames(name);
    }

    [TestCaseSource(nameof(Malformed))]
    public void AMalformedFile(string header, int data)
    {
        // Latin-1, so that a byte of the header may be no UTF-8
        byte[] text = Encoding.Latin1.GetBytes(header);
        string bad = _place.Write("bad.safetensors", [.. BitConverter.GetBytes((long)text.Length), .. text, .. new byte[data]]);
        RefusedAsAnyInput(bad);
    }

    [TestCase(0L)]
    [TestCase(-1L)]
    [TestCase(100_000_001L)]
    [TestCase(long.MaxValue)]
    [TestCase(1000L)]
    public void AnImpossibleHeaderLength(long length) => RefusedAsAnyInput(_place.Write("bad.safetensors", [.. BitConverter.GetBytes(length), .. new byte[100]]));

    [Test]
    public void ATruncatedFileInEveryRole()
    {
        byte[] whole = File.ReadAllBytes(_place.B);
        foreach (int length in (int[])[0, 7, 8, 9, whole.Length / 2, whole.Length - 1])
            RefusedAsAnyInput(_place.Write("bad.safetensors", whole[..length]));
    }

    [Test]
    public void AFileThatCannotBeRead()
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("links and devices of Unix");
        File.CreateSymbolicLink(_place["dangling.safetensors"], _place["nowhere"]);
        File.CreateSymbolicLink(_place["loop.safetensors"], _place["loop.safetensors"]);
        foreach (string path in (string[])[_place["dangling.safetensors"], _place["loop.safetensors"], "/dev/null", _place["a.safetensors/b.safetensors"], _place[new string('n', 300)]])
            RefusedAsAnyInput(path);
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "file modes")]
    [UnsupportedOSPlatform("windows")]
    public void AFileOrFolderWithoutPermission()
    {
        if (Environment.IsPrivilegedProcess)
            Assert.Ignore("the superuser reads and writes everything");
        File.SetUnixFileMode(_place.B, UnixFileMode.None);
        Tool.Run(Round(_place.A, "k=" + _place.B)).Failed(1, "'k'", "b.safetensors", "denied");
        Directory.CreateDirectory(_place["closed"], UnixFileMode.None);
        Tool.Run(Round(_place.A, "k=" + _place["closed"])).Failed(1, "'k'", "closed", "denied");
        string folder = Path.GetDirectoryName(_place.A)!;
        UnixFileMode mode = File.GetUnixFileMode(folder);
        File.SetUnixFileMode(folder, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        Run run = Tool.Run(Round(_place.A));
        File.SetUnixFileMode(folder, mode);
        run.Failed(1, "out.safetensors", "denied");
    }

    [Test]
    public void AnIntegerWhereTheGlobalHasAFloatAndTheOtherWay()
    {
        Refused(Round("k=" + Model("steps-float", steps: [1f])), "'k'", "'steps'", "F32", "I64");
        Refused(Round("k=" + Model("steps-narrow", steps: [(int)1])), "'k'", "'steps'", "I32", "I64");
        Refused(Round("k=" + Model("steps-bool", steps: [true])), "'k'", "'steps'", "BOOL", "I64");
    }

    [Test]
    public void AModelWithoutTensors() => Refused(Round("k=" + _place.Write("empty.safetensors", new MemoryModel())), "'k'", "'layer.weight'", "missing");

    [Test]
    public void AnotherRank()
    {
        var model = new MemoryModel { { Place.Weight, [6], new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] } };
        Refused(Round("k=" + _place.Write("flat.safetensors", model)), "'k'", "'layer.weight'", "[6]", "[3, 2]");
        model = new MemoryModel { { Place.Weight, [3, 2], new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, [1], new long[1] } };
        Refused(Round("k=" + _place.Write("one.safetensors", model)), "'k'", "'steps'", "[1]", "[]");
    }

    [TestCase("fedicu.update", "weights", "'weights'", "full, delta or sparse")]
    [TestCase("fedicu.update", "sparse", "sparse", "fedicu.base")]
    [TestCase("fedicu.base", "sha256:00", "sha256:00")]
    [TestCase("fedicu.base", "", "'k'", "sha256:")]
    public void MetadataOfAnUpdate(string key, string value, params string[] parts) => Refused(Round("k=" + _place.Write("bad.safetensors", Place.Like((key, value)))), parts);

    [Test]
    public void ASparseUpdateThatDoesNotFitItsMask()
    {
        string digest;
        using (TensorSource global = TensorSource.Open(_place.Global))
            digest = ModelDigest.Compute(global);
        foreach ((float[] values, byte[] mask, string shape) in ((float[], byte[], string)[])
            [([1, 2], [0b111], "[3, 2]"), ([1, 2, 3], [0b11], "[3, 2]"), ([1, 2], [0b11, 0], "[3, 2]"), ([1], [0b1000_0000], "[3, 2]"), ([1, 2], [0b11], "[3"), ([1, 2], [0b11], "[2, 3]"), ([1, 2], [0b11], "[-3, -2]")])
        {
            var model = new MemoryModel(new Dictionary<string, string> { ["fedicu.update"] = "sparse", ["fedicu.base"] = digest, ["fedicu.shape.layer.weight"] = shape })
            {
                { Place.Weight + "#values", [values.Length], values }, { Place.Weight + "#mask", [mask.Length], mask }, { Place.Bias, [2], new float[2] }, { Place.Steps, [], new long[1] },
            };
            Refused(Round("k=" + _place.Write("sparse.safetensors", model)), "'k'", "layer.weight");
        }
    }

    [Test]
    public void AGlobalModelThatIsNotFinite()
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused(["aggregate", "--strategy", "fedicu", "--set", "target=delta", "--global", bad, "--client", _place.A, "--client", _place.B, "--output", _place["out.safetensors"]], "'layer.weight'");
        Refused(["mask", "--global", bad, "--local", _place.A, "--output", _place["out.safetensors"]], "'layer.weight'");
    }

    [Test]
    public void AnOutputInAPlaceOfTheSystem()
    {
        if (!OperatingSystem.IsLinux())
            Assert.Ignore("/proc");
        Refused(RoundTo("/proc/out.safetensors", _place.A), "/proc/out.safetensors", "cannot be written");
        Refused(RoundTo("/proc/fedicu-out", _place.A), "/proc/fedicu-out");
        Refused(RoundTo("/dev/null", _place.A), "/dev/null");
        Refused(RoundTo(_place[new string('n', 300) + ".safetensors"], _place.A), "cannot be written");
    }

    [Test]
    public void AnOutputThatIsAnInput()
    {
        Refused(RoundTo(_place["./a.safetensors"], _place.A), "'" + _place.A + "'");
        Refused(RoundTo(_place["x/../a.safetensors"], "k=" + _place.A), "'k'");
        Refused(["mask", "--global", _place.Global, "--local", _place.A, "--output", _place["./a.safetensors"]], "--output");
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        Refused(["aggregate", "--strategy", "fedicu", "--global", global, "--client", "k=" + client, "--output", client + "/"], "'k'");
    }

    [Test]
    public void TheSameClientInSpellingsOfAFolder()
    {
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        Refused(["aggregate", "--strategy", "fedicu", "--global", global, "--client", "k=" + client, "--client", "l=" + client + "/", "--output", _place["next"]], "'k'", "'l'", "same path");
    }

    [TestCase("adapter_config.json", "{")]
    [TestCase("adapter_config.json", "{\"r\": 0}")]
    [TestCase("adapter_config.json", "[]")]
    [TestCase("adapter_model.safetensors", "text instead of tensors")]
    public void AMalformedAdapter(string file, string text)
    {
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        _place.Write("first/" + file, text);
        Refused(["aggregate", "--strategy", "fedicu", "--global", global, "--client", "k=" + client, "--output", _place["next"]], "'k'", file);
        Refused(["aggregate", "--strategy", "fedicu", "--global", client, "--client", "k=" + global, "--output", _place["next"]], "--global", file);
    }

    [Test]
    public void AMalformedIndex()
    {
        foreach (string text in (string[])["{", "{}", "{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "{\"weight_map\":{\"x\":\"a.safetensors\"}}"])
            RefusedAsAnyInput(_place.Write("model.safetensors.index.json", text));
        RefusedAsAnyInput(_place.Write("model.safetensors.index.json", "{\"weight_map\":{\"x\":\"nowhere.safetensors\"}}"), "nowhere.safetensors");
    }

    private string Model<T>(string name, T[] steps) where T : unmanaged
    {
        var model = new MemoryModel { { Place.Weight, [3, 2], new float[6] }, { Place.Bias, [2], new float[2] } };
        model.Add(Place.Steps, [], steps);
        return _place.Write(name + ".safetensors", model);
    }

    /// <summary>As a client, among others or alone, as the global model, as a trained one, and to be looked at.</summary>
    private void RefusedAsAnyInput(string path, string? named = null)
    {
        string name = named ?? Path.GetFileName(path);
        Refused(Round(_place.A, "k=" + path), "'k'", name);
        Refused(["aggregate", "--strategy", "fedavg", "--global", path, "--client", _place.A, "--output", _place["out.safetensors"]], "--global", name);
        Refused(["mask", "--global", _place.Global, "--local", path, "--output", _place["out.safetensors"]], "--local", name);
        Refused(["inspect", path], name);
        Refused(["diff", _place.A, path], name);
        Refused(["explain", "--global", _place.Global, "--client", "k=" + path], "'k'", name);
    }

    private string[] Round(params string[] clients) => RoundTo(_place["out.safetensors"], clients);

    private string[] RoundTo(string output, params string[] clients) =>
        ["aggregate", "--strategy", "fedicu", "--global", _place.Global, .. clients.SelectMany(client => new[] { "--client", client }), "--output", output];

    private void Refused(string[] args, params string[] parts)
    {
        string[] before = _place.Names();
        byte[][] bytes = [.. Contents()];
        Tool.Run(args).Failed(1, parts);
        Assert.That(_place.Names(), Is.EqualTo(before));
        Assert.That(Contents(), Is.EqualTo(bytes), "no file was changed");

        IEnumerable<byte[]> Contents() => _place.Names().Select(name => new FileInfo(_place[name])).Where(file => file is { Exists: true, LinkTarget: null }).Select(file => File.ReadAllBytes(file.FullName));
    }
}
