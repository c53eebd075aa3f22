using FedICU.Tests.Files;

namespace FedICU.Tests.Docs;

/// <summary>The base of fixtures that run what the documents show: each test works in a folder of its own, with the files that the documents name.</summary>
[NonParallelizable]
internal abstract class SnippetFixture
{
    private TempFolder _folder = null!;
    private string _before = null!;

    [SetUp]
    public void EnterFolder()
    {
        _folder = new TempFolder();
        _before = Environment.CurrentDirectory;
        Environment.CurrentDirectory = _folder.FullName;
    }

    [TearDown]
    public void LeaveFolder()
    {
        Environment.CurrentDirectory = _before;
        _folder.Dispose();
    }

    /// <summary>global.safetensors and the clients a, b and c, of one 2 x 2 matrix each: the round of the known answer (docs/algorithms.md).</summary>
    protected static void PutRound()
    {
        Put("global.safetensors", 1, 0, 0, 2);
        Put("a.safetensors", 2, 0, 0, 2);
        Put("b.safetensors", 1, 1, 1, 2);
        Put("c.safetensors", -1, 0, 0, 3);
    }

    /// <summary>Writes a model of one 2 x 2 matrix, <c>layer.weight</c>.</summary>
    protected static void Put(string path, params float[] values) => Models.Of("layer.weight", [2, 2], values).SaveTo(TensorSink.ToFile(path));

    /// <summary>A client's update in memory.</summary>
    protected static ClientUpdate Client(string id, double? examples, params float[] values) =>
        ClientUpdate.FromTensors(id, Models.Of("layer.weight", [2, 2], values), examples);

    protected static double[] ValuesOf(string path)
    {
        using TensorSource model = TensorSource.Open(path);
        return Models.ToDoubles(model, "layer.weight");
    }
}
