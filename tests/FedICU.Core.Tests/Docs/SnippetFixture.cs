using FedICU.Tests.Files;

namespace FedICU.Tests.Docs;

/// <summary>
/// Runs each test in an empty temporary folder. The fixtures that derive from it run what the documents show, on the
/// files that the documents name.
/// </summary>
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

    /// <summary>
    /// Writes global.safetensors and the clients' a, b and c.safetensors, one 2 x 2 matrix each. It is the round whose
    /// answer docs/algorithms.md gives.
    /// </summary>
    protected static void PutRound()
    {
        Put("global.safetensors", 1, 0, 0, 2);
        Put("a.safetensors", 2, 0, 0, 2);
        Put("b.safetensors", 1, 1, 1, 2);
        Put("c.safetensors", -1, 0, 0, 3);
    }

    /// <summary>Writes a model of one 2 x 2 matrix, <c>layer.weight</c>.</summary>
    protected static void Put(string path, params float[] values) =>
        Models.Of("layer.weight", [2, 2], values).SaveTo(TensorSink.ToFile(path));

    /// <summary>Makes a client's update in memory: one 2 x 2 matrix, <c>layer.weight</c>.</summary>
    protected static ClientUpdate Client(string id, double? examples, params float[] values) =>
        ClientUpdate.FromTensors(id, Models.Of("layer.weight", [2, 2], values), examples);

    /// <summary>
    /// Gets the output that a document shows: the text block that follows the C# block <paramref name="name"/>.
    /// </summary>
    protected static string OutputOf(string document, string name)
    {
        List<Fence> fences = Documents.Split(document).Fences;
        int at = fences.FindIndex(fence => fence.Name == name);
        Assert.That(fences[at + 1].Info, Is.EqualTo("text"), $"{document}: a text block with the output follows '{name}'");
        return fences[at + 1].Text;
    }

    /// <summary>Reads <c>layer.weight</c> of a model.</summary>
    protected static double[] ValuesOf(string path)
    {
        using TensorSource model = TensorSource.Open(path);
        return Models.ToDoubles(model, "layer.weight");
    }
}
