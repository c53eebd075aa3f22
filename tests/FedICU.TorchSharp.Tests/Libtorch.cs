using FedICU.Benchmarks.Torch;
using FedICU.Tests;

namespace FedICU.TorchSharp.Tests;

/// <summary>Loads libtorch before the first test, or skips all tests if it is missing.</summary>
[SetUpFixture]
public sealed class Libtorch
{
    [OneTimeSetUp]
    public void Load()
    {
        try
        {
            WeakVersions.LoadLibtorch();
        }
        catch (DllNotFoundException e)
        {
            Tools.Missing($"libtorch ({e.Message})");
        }
    }
}
