using FedICU.Tests.Docs;
using FedICU.Tests.Files;

namespace FedICU.Extensions.Tests;

/// <summary>
/// Runs a document's example of a host where a reader would: beside its configuration and three models.
/// </summary>
internal static class HostExample
{
    /// <summary>
    /// Runs an example in a folder with the document's configuration, the global model and the updates a and b.
    /// </summary>
    /// <param name="document">The document's path from the repository's root.</param>
    /// <param name="choose">Chooses the configuration among the document's JSON.</param>
    /// <param name="example">The example and what it is checked by.</param>
    public static async Task RunAsync(string document, Func<IEnumerable<Fence>, Fence> choose, Func<Task> example)
    {
        if (Documents.Root is null)
            Assert.Ignore("the documents are not here");
        string json = choose(Documents.Split(document).Fences.Where(fence => fence.Language == "json")).Text;
        using var folder = new TempFolder();
        string start = Environment.CurrentDirectory;
        Environment.CurrentDirectory = folder.FullName;
        try
        {
            foreach ((string name, int seed) in (ReadOnlySpan<(string, int)>)[("global", 0), ("a", 1), ("b", 2)])
                Rounds.Model(seed).SaveTo(TensorSink.ToFile(name + ".safetensors"));
            File.WriteAllText("appsettings.json", json);
            await example();
        }
        finally
        {
            Environment.CurrentDirectory = start;
        }
    }
}
