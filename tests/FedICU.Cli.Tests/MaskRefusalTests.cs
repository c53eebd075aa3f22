namespace FedICU.Cli.Tests;

/// <summary>
/// Runs <c>fedicu mask</c> with inputs that are refused: exit code 1, one sentence, and no file changes.
/// </summary>
public sealed class MaskRefusalTests
{
    private Place _place = null!;

    [SetUp]
    public void SetUp() => _place = new Place();

    [TearDown]
    public void TearDown() => _place.Dispose();

    [TestCase("top=0", "top is 0")]
    [TestCase("top=1.5", "top is 1.5")]
    [TestCase("top=x", "'x'")]
    [TestCase("noise=-1", "sigma is -1")]
    [TestCase("hard=1", "'hard=1'")]
    public void WrongMasksAreRefused(string mask, params string[] parts) => Refused([.. Mask(_place.A), "--mask", mask], parts);

    [TestCase("beta=1", "beta is 1")]
    [TestCase("importance=size", "'size'")]
    [TestCase("fill=one", "'one'")]
    [TestCase("seed=1.5", "'1.5'")]
    [TestCase("tau=1", "'tau'")]
    [TestCase("momentum=supplied", "supplied")]
    public void WrongMaskSettingsAreRefused(string setting, params string[] parts) => Refused([.. Mask(_place.A), "--set", setting], parts);

    [Test]
    public void OptionsWithoutEffectAreRefused()
    {
        Refused([.. Mask(_place.A), "--set", "sigma=1"], "--set sigma", "'hard'");
        Refused([.. Mask(_place.A), "--mask", "noise=0.5", "--set", "sigma=1"], "--set sigma", "'noise=0.5'");
        Refused([.. Mask(_place.A), "--set", "seed=1"], "--set seed", "'hard'");
        Refused([.. Mask(_place.A), "--set", "beta=0.5", "--set", "momentum=none"], "--set beta", "momentum=ema");
        Tool.Run([.. Mask(_place.A), "--mask", "noise", "--set", "sigma=1", "--set", "seed=1"]).Succeeded();
        Refused([.. Mask(_place.A), "--momentum", _place.B, "--set", "momentum=none"], "--momentum", "b.safetensors", "momentum=none");
    }

    [Test]
    public void AMaskGivenTwiceIsRefused() =>
        Refused([.. Mask(_place.A), "--mask", "soft", "--set", "mask=hard"], "--mask and --set mask were both given");

    [Test]
    public void MasksOfDifferentModelsAreRefused()
    {
        Refused(Mask(_place.Write("other.safetensors", Place.ModelOfOtherShape())), "'layer.weight'", "F32 [2, 3]", "F32 [3, 2]");
        Refused(Mask(_place["nowhere.safetensors"]), "--local", "does not exist");
        Refused([.. Mask(_place.A), "--momentum", _place["nowhere.safetensors"]], "--momentum", "does not exist");
        var half = new MemoryModel { { Place.Weight, [3, 2], new float[6] } };
        Refused([.. Mask(_place.A), "--momentum", _place.Write("half.safetensors", half)], "half.safetensors", "'layer.bias'");
        Refused([.. Mask(_place.A), "--momentum-out", _place["out.safetensors"]], "--momentum-out");
        Refused([.. Mask(_place.A), "--momentum-out", _place["nowhere/m.safetensors"]], "nowhere/m.safetensors");
        string bad = _place.Write("bad.safetensors", Place.Model([1, float.NaN, 1, 1, 1, 1], [1, 1], 1));
        Refused([.. Mask(bad), "--momentum-out", _place["m.safetensors"]], "'layer.weight'", "1 value");
    }

    [Test]
    public void AMaskThatWouldReplaceItsInputsIsRefused()
    {
        string momentum = _place.Write("m.safetensors", Place.Model(new float[6], new float[2], 0));
        string[] line = ["mask", "--global", _place.Global, "--local", _place.A, "--momentum", momentum, "--output"];
        Refused([.. line, _place.Global], "--output", "the received model itself");
        Refused([.. line, _place.A], "--output", "the trained model itself");
        Refused([.. line, momentum], "--output", "the momentum itself");
        Refused([.. line, _place["out.safetensors"], "--momentum-out", _place.Global], "--momentum-out", "the received model itself");
        Refused([.. line, _place["out.safetensors"], "--momentum-out", _place.A], "--momentum-out", "the trained model itself");
        Refused([.. line, _place["out.safetensors"], "--momentum-out", ""], "--momentum-out is ''");
    }

    private void Refused(string[] args, params string[] parts) => _place.AssertRefused(args, parts);

    private string[] Mask(string local) => _place.MaskLine(local);
}
