using FedICU.Tests.Files;

namespace FedICU.Tests;

/// <summary>A fixture that gives each test an empty folder and removes it after the test.</summary>
internal abstract class FolderFixture
{
    protected TempFolder Folder { get; private set; } = null!;

    [SetUp]
    public void CreateFolder() => Folder = new TempFolder();

    [TearDown]
    public void RemoveFolder() => Folder.Dispose();
}
