#if !DEBUG
using System.Reflection.Metadata;

namespace FedICU.Tests.Architecture;

/// <summary>
/// A Release build names its sources from the repository's root: no path of the machine is in the packages.
/// </summary>
internal sealed class SourcePathTests
{
    [Test]
    public void SymbolsNameSourcesFromTheRepositorysRoot([Values("FedICU.Core", "FedICU.Gpu", "FedICU.Lora")] string library)
    {
        using FileStream file = File.OpenRead(Path.Combine(AppContext.BaseDirectory, library + ".pdb"));
        using MetadataReaderProvider provider = MetadataReaderProvider.FromPortablePdbStream(file);
        MetadataReader symbols = provider.GetMetadataReader();
        string[] documents = [.. symbols.Documents.Select(document => symbols.GetString(symbols.GetDocument(document).Name))];
        Assert.That(documents, Is.Not.Empty);
        // CI's builds have a number after the underscore where there are several roots
        Assert.That(documents, Has.All.StartsWith("/_"));
    }
}
#endif
