using System.Runtime.Versioning;
using System.Text;

namespace FedICU.Cli.Tests;

/// <summary>
/// Runs command lines with more kinds of wrong files and numbers than <see cref="RefusalTests"/>: one sentence, the
/// documented exit code, and no file changes.
/// </summary>
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
    public void WrongCommandLinesExitWith2(params string[] args) => Tool.Run(args).Failed(2);

    [TestCase("inf,1", "'inf'")]
    [TestCase("1,nan", "'nan'", "b.safetensors")]
    [TestCase("-Infinity,1", "'-Infinity'")]
    [TestCase("-1e-9,1", "'-1e-9'")]
    [TestCase("0x10,1", "'0x10'")]
    [TestCase("", "''")]
    [TestCase("1.5.2,1", "'1.5.2'")]
    [TestCase("1e308,1e308", "above max-weight")]
    public void WrongWeightsAreRefused(string weights, params string[] parts) =>
        Refused([.. Round(_place.A, _place.B), "--weights", weights], parts);

    [TestCase("Tau=1", "'Tau'")]
    [TestCase("eps=-1", "eps is -1")]
    [TestCase("eps=inf", "eps is")]
    [TestCase("similarity=cosine", "'cosine'", "pairwise, pairwise-self, mean or previous")]
    [TestCase("granularity=layer", "'layer'", "tensor or model")]
    [TestCase("weights=sigmoid", "'sigmoid'", "softmax, relu or raw")]
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
    public void WrongSettingsAreRefused(string setting, params string[] parts) =>
        Refused([.. Round(_place.A, _place.B), "--set", setting], parts);

    [TestCase("-1")]
    [TestCase("Infinity")]
    [TestCase("1e999")]
    [TestCase("")]
    [TestCase("12 examples")]
    public void WrongNumExamplesAreRefused(string examples)
    {
        string bad = _place.Write("bad.safetensors", Place.Like(("num_examples", examples)));
        Refused(Round("k=" + bad), "'k'", examples == "1e999" ? "Infinity" : examples);
    }

    [Test]
    public void NoExamplesAtAllIsRefused() =>
        Refused(Round("k=" + _place.Write("none.safetensors", Place.Like(("num_examples", "0")))), "No client remains", "'k'");

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
    public void AMalformedFileIsRefused(string header, int data)
    {
        // Latin-1, so that the header can contain a byte that is not UTF-8
        byte[] text = Encoding.Latin1.GetBytes(header);
        string bad = _place.Write("bad.safetensors", [.. BitConverter.GetBytes((long)text.Length), .. text, .. new byte[data]]);
        RefusedAsAnyInput(bad);
    }

    [TestCase(0L)]
    [TestCase(-1L)]
    [TestCase(100_000_001L)]
    [TestCase(long.MaxValue)]
    [TestCase(1000L)]
    public void AnImpossibleHeaderLengthIsRefused(long length) =>
        RefusedAsAnyInput(_place.Write("bad.safetensors", [.. BitConverter.GetBytes(length), .. new byte[100]]));

    [Test]
    public void ATruncatedFileIsRefusedInEveryRole()
    {
        byte[] whole = File.ReadAllBytes(_place.B);
        foreach (int length in (int[])[0, 7, 8, 9, whole.Length / 2, whole.Length - 1])
            RefusedAsAnyInput(_place.Write("bad.safetensors", whole[..length]));
    }

    [Test]
    public void AFileThatCannotBeReadIsRefused()
    {
        if (OperatingSystem.IsWindows())
            Assert.Ignore("links and devices of Unix");
        File.CreateSymbolicLink(_place["dangling.safetensors"], _place["nowhere"]);
        File.CreateSymbolicLink(_place["loop.safetensors"], _place["loop.safetensors"]);
        string[] paths =
        [
            _place["dangling.safetensors"], _place["loop.safetensors"], "/dev/null", _place["a.safetensors/b.safetensors"],
            _place[new string('n', 300)],
        ];
        foreach (string path in paths)
            RefusedAsAnyInput(path);
    }

    [Test]
    [Platform(Exclude = "Win", Reason = "file modes")]
    [UnsupportedOSPlatform("windows")]
    public void AFileOrFolderWithoutPermissionIsRefused()
    {
        if (Environment.IsPrivilegedProcess)
            Assert.Ignore("root may read and write everything");
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
    public void AnotherTypeOfAnIntegerTensorIsRefused()
    {
        Refused(Round("k=" + Model("steps-float", steps: [1f])), "'k'", "'steps'", "F32", "I64");
        Refused(Round("k=" + Model("steps-narrow", steps: [(int)1])), "'k'", "'steps'", "I32", "I64");
        Refused(Round("k=" + Model("steps-bool", steps: [true])), "'k'", "'steps'", "BOOL", "I64");
    }

    [Test]
    public void AModelWithoutTensorsIsRefused() =>
        Refused(Round("k=" + _place.Write("empty.safetensors", new MemoryModel())), "'k'", "'layer.weight'", "missing");

    [Test]
    public void AnotherRankIsRefused()
    {
        Refused(Round("k=" + Write("flat", [6], [])), "'k'", "'layer.weight'", "[6]", "[3, 2]");
        Refused(Round("k=" + Write("one", [3, 2], [1])), "'k'", "'steps'", "[1]", "[]");

        string Write(string name, long[] weight, long[] steps)
        {
            var model = new MemoryModel
            {
                { Place.Weight, weight, new float[6] }, { Place.Bias, [2], new float[2] }, { Place.Steps, steps, new long[1] },
            };
            return _place.Write(name + ".safetensors", model);
        }
    }

    [TestCase("fedicu.update", "weights", "'weights'", "full, delta or sparse")]
    [TestCase("fedicu.update", "sparse", "sparse", "fedicu.base")]
    [TestCase("fedicu.base", "sha256:00", "sha256:00")]
    [TestCase("fedicu.base", "", "'k'", "sha256:")]
    public void WrongMetadataOfAnUpdateAreRefused(string key, string value, params string[] parts) =>
        Refused(Round("k=" + _place.Write("bad.safetensors", Place.Like((key, value)))), parts);

    [Test]
    public void ASparseUpdateThatDoesNotFitItsMaskIsRefused()
    {
        (float[], byte[], string)[] updates =
        [
            ([1, 2], [0b111], "[3, 2]"), ([1, 2, 3], [0b11], "[3, 2]"), ([1, 2], [0b11, 0], "[3, 2]"), ([1], [0b1000_0000], "[3, 2]"),
            ([1, 2], [0b11], "[3"), ([1, 2], [0b11], "[2, 3]"), ([1, 2], [0b11], "[-3, -2]"),
        ];
        foreach ((float[] values, byte[] mask, string shape) in updates)
        {
            var metadata = new Dictionary<string, string>
            {
                ["fedicu.update"] = "sparse",
                ["fedicu.base"] = Place.Digest(_place.Global),
                ["fedicu.shape.layer.weight"] = shape,
            };
            var model = new MemoryModel(metadata)
            {
                { Place.Weight + "#values", [values.Length], values },
                { Place.Weight + "#mask", [mask.Length], mask },
                { Place.Bias, [2], new float[2] },
                { Place.Steps, [], new long[1] },
            };
            Refused(Round("k=" + _place.Write("sparse.safetensors", model)), "'k'", "layer.weight");
        }
    }

    [Test]
    public void AGlobalModelThatIsNotFiniteIsRefused()
    {
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused([.. _place.RoundLine([_place.A, _place.B], global: bad), "--set", "target=delta"], "'layer.weight'");
        Refused(["mask", "--global", bad, "--local", _place.A, "--output", _place["out.safetensors"]], "'layer.weight'");
    }

    [Test]
    public void AnOutputInASystemFolderIsRefused()
    {
        if (!OperatingSystem.IsLinux())
            Assert.Ignore("/proc");
        Refused(_place.RoundLine([_place.A], "/proc/out.safetensors"), "/proc/out.safetensors", "cannot be written");
        Refused(_place.RoundLine([_place.A], "/proc/fedicu-out"), "/proc/fedicu-out");
        Refused(_place.RoundLine([_place.A], "/dev/null"), "/dev/null");
        Refused(_place.RoundLine([_place.A], _place[new string('n', 300) + ".safetensors"]), "cannot be written");
    }

    [Test]
    public void AnOutputThatIsAnInputIsRefused()
    {
        Refused(_place.RoundLine([_place.A], _place["./a.safetensors"]), "'" + _place.A + "'");
        Refused(_place.RoundLine(["k=" + _place.A], _place["x/../a.safetensors"]), "'k'");
        Refused(["mask", "--global", _place.Global, "--local", _place.A, "--output", _place["./a.safetensors"]], "--output");
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        Refused(_place.RoundLine(["k=" + client], client + "/", global), "'k'");
    }

    [Test]
    public void TheSameFolderInTwoSpellingsIsRefused()
    {
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        Refused(_place.RoundLine(["k=" + client, "l=" + client + "/"], _place["next"], global), "'k'", "'l'", "same path");
    }

    [TestCase("adapter_config.json", "{")]
    [TestCase("adapter_config.json", "{\"r\": 0}")]
    [TestCase("adapter_config.json", "[]")]
    [TestCase("adapter_model.safetensors", "text instead of tensors")]
    public void AMalformedAdapterIsRefused(string file, string text)
    {
        string global = _place.WriteAdapter("base", 1), client = _place.WriteAdapter("first", 2);
        _place.Write("first/" + file, text);
        Refused(_place.RoundLine(["k=" + client], _place["next"], global), "'k'", file);
        Refused(_place.RoundLine(["k=" + global], _place["next"], client), "--global", file);
    }

    [Test]
    public void AMalformedIndexIsRefused()
    {
        string[] texts =
            ["{", "{}", "{\"weight_map\":{\"x\":\"../a.safetensors\"}}", "{\"weight_map\":{\"x\":\"a.safetensors\"}}"];
        foreach (string text in texts)
            RefusedAsAnyInput(_place.Write("model.safetensors.index.json", text));
        string missing = _place.Write("model.safetensors.index.json", "{\"weight_map\":{\"x\":\"nowhere.safetensors\"}}");
        RefusedAsAnyInput(missing, "nowhere.safetensors");
    }

    private string Model<T>(string name, T[] steps) where T : unmanaged
    {
        var model = new MemoryModel { { Place.Weight, [3, 2], new float[6] }, { Place.Bias, [2], new float[2] } };
        model.Add(Place.Steps, [], steps);
        return _place.Write(name + ".safetensors", model);
    }

    /// <summary>
    /// Asserts that a path is refused as a client, a global model, a trained model, and by inspect, diff and explain.
    /// </summary>
    private void RefusedAsAnyInput(string path, string? named = null)
    {
        string name = named ?? Path.GetFileName(path);
        Refused(Round(_place.A, "k=" + path), "'k'", name);
        Refused(_place.RoundLine([_place.A], global: path, strategy: "fedavg"), "--global", name);
        Refused(["mask", "--global", _place.Global, "--local", path, "--output", _place["out.safetensors"]], "--local", name);
        Refused(["inspect", path], name);
        Refused(["diff", _place.A, path], name);
        Refused(["explain", "--global", _place.Global, "--client", "k=" + path], "'k'", name);
    }

    private string[] Round(params string[] clients) => _place.RoundLine(clients);

    private void Refused(string[] args, params string[] parts) => _place.AssertRefused(args, parts);
}
